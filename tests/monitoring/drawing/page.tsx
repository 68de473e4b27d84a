// Draws a dashboard when it is asked to, by draw(dashboard, scene), and says how each panel fares:
// ok, nodata (with the letters of the queries that answered nothing), error (with its words), or
// blank, where there were data and nothing of them is to be seen.
//
// This is Grafana's UI library, not Grafana: grid, frames and values are its own, what is round
// them is not.

import React, { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { ThemeContext, createTheme } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { GlobalStyles, PanelChrome, PortalContainer } from '@grafana/ui';
import { type Scene, framesOf, marksOf, rangeOf } from './data';
import { Kind } from './panels';

const CELL = 38;
const GAP = 8;
const theme = createTheme({ colors: { mode: 'dark' } });

interface Fate {
  id: number;
  title: string;
  state: 'ok' | 'nodata' | 'error' | 'blank';
  words: string;
}

class Guard extends React.Component<{ caught: (words: string) => void; children: any }> {
  state = { broken: false };
  static getDerivedStateFromError() {
    return { broken: true };
  }
  componentDidCatch(error: Error) {
    this.props.caught(`${error}`);
  }
  render() {
    return this.state.broken ? null : this.props.children;
  }
}

function Panel({ panel, scene, marks, column, done }: any) {
  const [answer, setAnswer] = useState<any>();
  const { x, y, w, h } = panel.gridPos;
  const [width, height] = [w * column - GAP, h * CELL - GAP];
  const tell = (state: string, words = '') => done({ id: panel.id, title: panel.title, state, words });
  useEffect(() => {
    const asked = panel.targets?.length ? framesOf(panel, width, scene) : Promise.resolve({ frames: [], empty: [] });
    asked.then(setAnswer, (error) => setAnswer({ error: `${error}` }));
  }, []);
  useEffect(() => {
    if (answer) {
      tell(answer.error ? 'error' : answer.empty.length ? 'nodata' : 'ok', answer.error ?? answer.empty.join(' '));
    }
  }, [answer]);
  return (
    <div data-panel={panel.id} style={{ position: 'absolute', left: x * column + GAP / 2, top: y * CELL, width, height }}>
      <PanelChrome
        title={panel.title}
        width={width}
        height={height}
        description={panel.description}
        titleItems={panel.timeFrom && <small style={{ color: theme.colors.text.secondary }}>Last {panel.timeFrom.replace('d', ' days')}</small>}
      >
        {(inner: number, high: number) =>
          !answer ? null : answer.error || answer.frames.every((frame: any) => frame.length === 0) && panel.targets?.length ? (
            <p>{answer.error ?? 'No data'}</p>
          ) : (
            <Guard caught={(words) => tell('error', words)}>
              <Kind panel={panel} frames={answer.frames} range={rangeOf(panel, scene)} marks={marks} theme={theme} width={inner} height={high} />
            </Guard>
          )
        }
      </PanelChrome>
    </div>
  );
}

function Row({ panel }: any) {
  return (
    <h4 data-row style={{ position: 'absolute', left: GAP, top: panel.gridPos.y * CELL, margin: 0, paddingTop: GAP }}>
      {panel.title}
    </h4>
  );
}

function Dashboard({ dashboard, scene, marks, done }: any) {
  const column = (innerWidth - GAP) / 24;
  const bottom = Math.max(...dashboard.panels.map((each: any) => each.gridPos.y + each.gridPos.h));
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles {...({ hackNoBackdropBlur: false, isExtensionSidebarOpen: false } as any)} />
      <div style={{ position: 'relative', height: bottom * CELL + GAP, background: theme.colors.background.canvas }}>
        {dashboard.panels.map((panel: any) =>
          panel.type === 'row' ? (
            <Row key={panel.id} panel={panel} />
          ) : (
            <Panel key={panel.id} {...{ panel, scene, marks, column, done }} />
          )
        )}
      </div>
      <PortalContainer />
    </ThemeContext.Provider>
  );
}

// Whether something of the data is to be seen: text beside the title, a row below the header, or
// something coloured in a chart, whose axes are grey.
function isSeen(panel: any): boolean {
  const element = document.querySelector<HTMLElement>(`[data-panel="${panel.id}"]`)!;
  if (panel.type === 'table') {
    return element.querySelectorAll('[role=row]').length > 1;
  }
  if (panel.type === 'timeseries') {
    return [...element.querySelectorAll('canvas')].some(isColoured);
  }
  return element.innerText.replace(panel.title, '').trim() !== '';
}

function isColoured(canvas: HTMLCanvasElement): boolean {
  const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < data.length; at += 4) {
    const colour = data.subarray(at, at + 3);
    if (data[at + 3] > 200 && Math.max(...colour) - Math.min(...colour) > 60) {
      return true;
    }
  }
  return false;
}

const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));

async function draw(dashboard: any, scene: Scene): Promise<Fate[]> {
  await initPluginTranslations('drawing', []);
  await document.fonts.ready;
  const marks = await marksOf(dashboard, scene);
  const expected = dashboard.panels.filter((panel: any) => panel.type !== 'row').length;
  const fates = new Map<number, Fate>();
  const element = document.getElementById('page')!;
  element.replaceChildren();
  const root = document.createElement('div');
  element.append(root);
  await new Promise<void>((resolve) => {
    const done = (fate: Fate) => {
      fates.set(fate.id, fate);
      if (fates.size === expected) {
        resolve();
      }
    };
    createRoot(root).render(<Dashboard {...{ dashboard, scene, marks, done }} />);
  });
  for (let n = 0; n < 10; n++) {
    await frame(); // charts are drawn in the frames after their data came
  }
  for (const panel of dashboard.panels) {
    const fate = fates.get(panel.id);
    if (fate?.state === 'ok' && !isSeen(panel)) {
      fate.state = 'blank';
    }
  }
  return [...fates.values()];
}

(window as any).draw = draw;
