"""The same matcher and judge over old logs; no firewall."""
