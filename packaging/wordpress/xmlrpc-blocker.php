<?php
/**
 * Plugin Name: xmlrpc-blocker reporter
 * Description: Reports failed logins and failed pingbacks to syslog, one line each, for xmlrpc-blocker. No settings; it changes no answer and stores nothing.
 * Version: 0.1.0
 * Requires at least: 5.0
 * Requires PHP: 7.4
 * Author: The xmlrpc-blocker developers
 * License: GPL-2.0-or-later
 * License URI: https://www.gnu.org/licenses/old-licenses/gpl-2.0.html
 *
 * Must-use plugin of one file: copy it to wp-content/mu-plugins/. A line looks like this:
 *
 *     xmlrpc-blocker: addr=198.51.100.1 n=1 event=login via=xmlrpc try=ea user=admin
 *
 * addr, n and event are always the first three fields. A value holds only unreserved characters
 * of URLs and %XX, so that no visitor can add a blank, a field or a line.
 *
 * Rules: filters return what they got. Nothing is printed, stored or sent to the visitor. No
 * exception leaves a hook. A password is used only for two hexadecimal digits (try) and is
 * neither kept nor written.
 *
 * Optional constants, in wp-config.php:
 * XMLRPC_BLOCKER_SOCKET   path of a datagram socket that gets the lines instead of syslog
 * XMLRPC_BLOCKER_PROXIES  addresses and networks of proxies whose X-Forwarded-For is right: a
 *                         string separated by commas or blanks, or an array
 *
 * @package xmlrpc-blocker
 */

defined( 'ABSPATH' ) || exit;

// PHP declares a class at top level before it runs line 1, and class_exists() would then always
// be true: so the declaration stands inside the condition.
if ( ! class_exists( 'Xmlrpc_Blocker_Reporter', false ) ) {

	/**
	 * Counts the failures of one request and writes them as lines.
	 */
	class Xmlrpc_Blocker_Reporter {

		/** Highest n that a reader of the lines accepts. */
		const MAX_COUNT = 100000;

		/** Different lines that wait at most; further ones are counted without their details. */
		const MAX_WAITING = 16;

		/** Bytes of a value at most, before they are escaped. WordPress' names have 60. */
		const MAX_VALUE = 60;

		/** Pause between two writes of a request, in nanoseconds. */
		const PAUSE = 1000000000;

		/** Errors of application passwords that mean a guess. The others mean a setting of the site. */
		const GUESSES = array( 'invalid_username', 'invalid_email', 'incorrect_password' );

		/** REMOTE_ADDR and X-Forwarded-For as the server gave them. */
		private $remote;
		private $forwarded;

		/** What the last failed check of a password left behind: the name and the two digits. */
		private $guess = null;

		/** Whether a failed application password was reported in this request. */
		private $basic = false;

		/** Counts by text of the line behind n. */
		private $waiting = array();

		/** When lines were written last, by the monotonic clock, in nanoseconds. */
		private $written = null;

		/** The stream to XMLRPC_BLOCKER_SOCKET. */
		private $socket = null;

		/**
		 * Reads the address now: a plugin that is loaded later may replace it by what a visitor sent.
		 */
		public function __construct() {
			$this->remote    = isset( $_SERVER['REMOTE_ADDR'] ) ? $_SERVER['REMOTE_ADDR'] : '';
			$this->forwarded = isset( $_SERVER['HTTP_X_FORWARDED_FOR'] ) ? $_SERVER['HTTP_X_FORWARDED_FOR'] : '';
		}

		/**
		 * Registers the hooks. All of them are documented by WordPress.
		 */
		public function register() {
			// Last: its argument is then what WordPress goes by.
			add_filter( 'authenticate', array( $this, 'on_authenticate' ), PHP_INT_MAX, 3 );
			// Early: other plugins end the request in these hooks.
			add_filter( 'xmlrpc_login_error', array( $this, 'on_xmlrpc_login_error' ), 1, 1 );
			add_action( 'wp_login_failed', array( $this, 'on_login_failed' ), 1, 1 );
			add_action( 'application_password_failed_authentication', array( $this, 'on_basic' ), 1, 1 );
			// WordPress' own filter at priority 10 replaces all codes but 48 by 0.
			add_filter( 'xmlrpc_pingback_error', array( $this, 'on_pingback_error' ), 1, 1 );
			add_filter( 'rest_user_query', array( $this, 'on_user_query' ), 10, 1 );
			add_action( 'parse_request', array( $this, 'on_parse_request' ), 10, 1 );
			// Runs after exit, a fatal error and a time-out, too.
			add_action( 'shutdown', array( $this, 'on_shutdown' ), 0, 0 );
		}

		/**
		 * Remembers a failed check of a password until WordPress says where it came from.
		 *
		 * @param mixed $user     WP_User after a success, else WP_Error or null.
		 * @param mixed $name     What was typed as user name or mail address.
		 * @param mixed $password What was typed as password.
		 * @return mixed $user.
		 */
		public function on_authenticate( $user = null, $name = '', $password = '' ) {
			try {
				$this->guess = null;
				if ( ! $user instanceof WP_User ) {
					$this->guess = array( $name, $this->tag( $name, $password ) );
				}
			} catch ( Throwable $e ) {
				$this->guess = null;
			}
			return $user;
		}

		/**
		 * Reports a failed login over XML-RPC, those that WordPress refuses to check included.
		 *
		 * The action wp_login_failed says nothing of empty fields, nor of any but the first of a
		 * system.multicall.
		 *
		 * @param mixed $error IXR_Error.
		 * @return mixed $error.
		 */
		public function on_xmlrpc_login_error( $error = null ) {
			try {
				$guess       = $this->guess;
				$this->guess = null;
				if ( null === $guess ) {
					$guess = array( null, '-' );
				}
				$this->note_login( 'xmlrpc', $guess[1], $guess[0] );
			} catch ( Throwable $e ) {
				unset( $e );
			}
			return $error;
		}

		/**
		 * Reports a failed login by the form, or by a plugin of the REST interface.
		 *
		 * @param mixed $name What was typed as user name.
		 */
		public function on_login_failed( $name = '' ) {
			try {
				if ( $this->is_true( 'XMLRPC_REQUEST' ) ) {
					return;
				}
				$try         = null === $this->guess ? '-' : $this->guess[1];
				$this->guess = null;
				$this->note_login( $this->is_true( 'REST_REQUEST' ) ? 'rest' : 'form', $try, $name );
			} catch ( Throwable $e ) {
				unset( $e );
			}
		}

		/**
		 * Reports a failed application password of the REST interface, once a request.
		 *
		 * @param mixed $error WP_Error.
		 */
		public function on_basic( $error = null ) {
			try {
				$guessed = $error instanceof WP_Error
					&& in_array( $error->get_error_code(), self::GUESSES, true );
				if ( $this->basic || ! $guessed || $this->is_true( 'XMLRPC_REQUEST' ) ) {
					return;
				}
				$this->basic = true;
				$name        = isset( $_SERVER['PHP_AUTH_USER'] ) ? $_SERVER['PHP_AUTH_USER'] : '';
				$password    = isset( $_SERVER['PHP_AUTH_PW'] ) ? $_SERVER['PHP_AUTH_PW'] : '';
				$this->note_login( 'basic', $this->tag( $name, $password ), $name );
			} catch ( Throwable $e ) {
				unset( $e );
			}
		}

		/**
		 * Reports a failed pingback with its code. The reader knows which codes are harmless.
		 *
		 * @param mixed $error IXR_Error.
		 * @return mixed $error.
		 */
		public function on_pingback_error( $error = null ) {
			try {
				$code = isset( $error->code ) && is_numeric( $error->code ) ? (int) $error->code : '-';
				$this->note( 'pingback', 'xmlrpc', array( 'code' => $code ) );
			} catch ( Throwable $e ) {
				unset( $e );
			}
			return $error;
		}

		/**
		 * Reports that a visitor without a login asked the REST interface for the list of users.
		 *
		 * @param mixed $arguments Of the query.
		 * @return mixed $arguments.
		 */
		public function on_user_query( $arguments = null ) {
			try {
				if ( ! is_user_logged_in() ) {
					$this->note( 'users', 'rest' );
				}
			} catch ( Throwable $e ) {
				unset( $e );
			}
			return $arguments;
		}

		/**
		 * Reports a request such as /?author=1 of a site with pretty links: it asks for a user name.
		 *
		 * @param mixed $wp The request as WordPress understood it.
		 */
		public function on_parse_request( $wp = null ) {
			try {
				$author = isset( $_GET['author'] ) ? $_GET['author'] : null;
				if (
					is_string( $author ) && preg_match( '/^[0-9]+$/D', $author )
					&& empty( $wp->query_vars['rest_route'] ) && ! is_admin() && ! is_user_logged_in()
					&& get_option( 'permalink_structure' )
				) {
					$this->note( 'users', 'author' );
				}
			} catch ( Throwable $e ) {
				unset( $e );
			}
		}

		/**
		 * Reports a login to a disabled XML-RPC, which has no hook, and writes what waits.
		 */
		public function on_shutdown() {
			try {
				$server = isset( $GLOBALS['wp_xmlrpc_server'] ) ? $GLOBALS['wp_xmlrpc_server'] : null;
				if ( isset( $server->error->code ) && 405 === (int) $server->error->code ) {
					$this->note( 'disabled', 'xmlrpc' );
				}
				$this->flush();
			} catch ( Throwable $e ) {
				unset( $e );
			}
		}

		/**
		 * Notes a failed login.
		 *
		 * @param string $via  Where it was tried.
		 * @param string $try  Two digits for the guess, or '-'.
		 * @param mixed  $name What was typed as user name, or null.
		 */
		private function note_login( $via, $try, $name ) {
			$this->note( 'login', $via, array( 'try' => $try, 'user' => $this->existing( $name ) ) );
		}

		/**
		 * Counts an event. The first of a request is written at once, the next ones once a second.
		 *
		 * @param string $event  Its kind.
		 * @param string $via    Where it happened.
		 * @param array  $fields Further fields.
		 */
		private function note( $event, $via, $fields = array() ) {
			$line = $this->line( $event, $via, $fields );
			if ( ! isset( $this->waiting[ $line ] ) && count( $this->waiting ) >= self::MAX_WAITING ) {
				$line = $this->line( $event, $via, array_fill_keys( array_keys( $fields ), '-' ) );
			}
			$before                 = isset( $this->waiting[ $line ] ) ? $this->waiting[ $line ] : 0;
			$this->waiting[ $line ] = min( $before + 1, self::MAX_COUNT );
			if ( null === $this->written || hrtime( true ) - $this->written >= self::PAUSE ) {
				$this->flush();
			}
		}

		/**
		 * Returns the text of a line behind n.
		 *
		 * @param string $event  Its kind.
		 * @param string $via    Where it happened.
		 * @param array  $fields Further fields.
		 * @return string
		 */
		private function line( $event, $via, $fields ) {
			$line = "event=$event via=$via";
			foreach ( $fields as $name => $value ) {
				$line .= " $name=" . rawurlencode( substr( (string) $value, 0, self::MAX_VALUE ) );
			}
			return $line;
		}

		/**
		 * Writes what waits, a line for each kind. Without an address that is certain, nothing.
		 */
		private function flush() {
			if ( ! $this->waiting ) {
				return;
			}
			$waiting       = $this->waiting;
			$this->waiting = array();
			$this->written = hrtime( true );
			$address       = $this->address();
			if ( null === $address ) {
				return;
			}
			foreach ( $waiting as $line => $count ) {
				$this->write( "xmlrpc-blocker: addr=$address n=$count $line" );
			}
		}

		/**
		 * Returns two hexadecimal digits for a guess: the same wrong password is no new guess.
		 *
		 * wp_salt() is not asked: it stores new keys where there are none.
		 *
		 * @param mixed $name     What was typed as user name.
		 * @param mixed $password What was typed as password.
		 * @return string '-' if the site has no secret of its own.
		 */
		private function tag( $name, $password ) {
			if ( ! is_string( $name ) || ! is_string( $password ) ) {
				return '-';
			}
			$key = $this->secret( 'NONCE_KEY' ) . $this->secret( 'NONCE_SALT' );
			return '' === $key ? '-' : substr( hash_hmac( 'sha256', "$name\0$password", $key ), 0, 2 );
		}

		/**
		 * Returns a secret of the site, from wp-config.php or as WordPress has stored it, or ''.
		 *
		 * @param string $name Of the constant; the option has it in small letters.
		 * @return string
		 */
		private function secret( $name ) {
			$value = defined( $name ) ? constant( $name ) : '';
			if ( ! is_string( $value ) || '' === $value || 'put your unique phrase here' === $value ) {
				$value = get_site_option( strtolower( $name ) );
			}
			return is_string( $value ) ? $value : '';
		}

		/**
		 * Returns the login of a user that exists. Other names are not reported: what is typed there
		 * is often a password.
		 *
		 * @param mixed $name What was typed: a user name or a mail address.
		 * @return string The login, or '-'.
		 */
		private function existing( $name ) {
			if ( ! is_string( $name ) || '' === $name ) {
				return '-';
			}
			$user = get_user_by( 'login', $name );
			if ( ! $user && false !== strpos( $name, '@' ) ) {
				$user = get_user_by( 'email', $name );
			}
			$login = isset( $user->user_login ) ? (string) $user->user_login : '';
			return '' === $login ? '-' : $login;
		}

		/**
		 * Returns the address of the client, or null if it is not certain.
		 *
		 * X-Forwarded-For is read from the right: each proxy appends the address that it was asked
		 * by, and what stands to the left is the visitor's own text.
		 *
		 * @return string|null
		 */
		private function address() {
			$address = $this->checked( $this->remote );
			$proxies = $this->proxies();
			$chain   = $proxies && is_string( $this->forwarded ) ? explode( ',', $this->forwarded ) : array();
			while ( null !== $address && $this->is_proxy( $address, $proxies ) ) {
				$address = $chain ? $this->checked( trim( array_pop( $chain ), " \t" ) ) : null;
			}
			return $address;
		}

		/**
		 * Returns an address as it stands, or null if it is none.
		 *
		 * @param mixed $text To be checked.
		 * @return string|null
		 */
		private function checked( $text ) {
			$is_address = is_string( $text ) && preg_match( '/^[0-9A-Fa-f:.]{2,45}$/D', $text )
				&& false !== filter_var( $text, FILTER_VALIDATE_IP );
			return $is_address ? $text : null;
		}

		/**
		 * Returns the proxies of XMLRPC_BLOCKER_PROXIES: bytes and length of the prefix of each.
		 *
		 * @return array Of arrays. What is no address and no network is left out.
		 */
		private function proxies() {
			$given = defined( 'XMLRPC_BLOCKER_PROXIES' ) ? XMLRPC_BLOCKER_PROXIES : array();
			if ( is_string( $given ) ) {
				$given = preg_split( '/[\s,]+/', $given );
			}
			$proxies = array();
			foreach ( is_array( $given ) ? $given : array() as $each ) {
				$parts   = is_string( $each ) ? explode( '/', $each ) : array( '' );
				$address = $this->checked( $parts[0] );
				if ( null === $address ) {
					continue;
				}
				$bytes  = inet_pton( $address );
				$length = isset( $parts[1] ) ? $parts[1] : (string) ( 8 * strlen( $bytes ) );
				if ( count( $parts ) <= 2 && preg_match( '/^[0-9]{1,3}$/D', $length ) && $length <= 8 * strlen( $bytes ) ) {
					$proxies[] = array( $bytes, (int) $length );
				}
			}
			return $proxies;
		}

		/**
		 * Whether an address is in one of the networks.
		 *
		 * @param string $address A valid one.
		 * @param array  $proxies As proxies() returns them.
		 * @return bool
		 */
		private function is_proxy( $address, $proxies ) {
			$bytes = $proxies ? inet_pton( $address ) : '';
			if ( 16 === strlen( $bytes ) && 0 === strncmp( $bytes, str_repeat( "\0", 10 ) . "\xff\xff", 12 ) ) {
				$bytes = substr( $bytes, 12 ); // An IPv4 address that the server shows as IPv6.
			}
			foreach ( $proxies as $proxy ) {
				list( $network, $length ) = $proxy;
				$whole                    = $length >> 3;
				$rest                     = 0xff00 >> ( $length & 7 ) & 0xff;
				if (
					strlen( $bytes ) === strlen( $network ) && 0 === strncmp( $bytes, $network, $whole )
					&& ( ! $rest || ( ord( $bytes[ $whole ] ) & $rest ) === ( ord( $network[ $whole ] ) & $rest ) )
				) {
					return true;
				}
			}
			return false;
		}

		/**
		 * Writes a line to the first of socket, syslog and error log that accepts it.
		 *
		 * Handlers of other plugins do not get the warnings of PHP's functions here: a handler may
		 * throw, print or store.
		 *
		 * @param string $line ASCII without control characters.
		 */
		private function write( $line ) {
			set_error_handler(
				static function () {
					return true;
				}
			);
			try {
				$this->sent( $line ) || $this->logged( $line )
					|| ( function_exists( 'error_log' ) && error_log( $line ) );
			} finally {
				restore_error_handler();
			}
		}

		/**
		 * Whether the socket of XMLRPC_BLOCKER_SOCKET took a line. It never waits.
		 *
		 * @param string $line The datagram.
		 * @return bool
		 */
		private function sent( $line ) {
			if ( ! defined( 'XMLRPC_BLOCKER_SOCKET' ) || ! is_string( XMLRPC_BLOCKER_SOCKET ) ) {
				return false;
			}
			if ( ! $this->socket && function_exists( 'stream_socket_client' ) ) {
				$path         = preg_replace( '#^(unix|udg):(//(?=/))?#', '', XMLRPC_BLOCKER_SOCKET );
				$this->socket = stream_socket_client( "udg://$path", $code, $text, 0 );
				if ( $this->socket ) {
					stream_set_blocking( $this->socket, false );
				}
			}
			if ( $this->socket && strlen( $line ) === fwrite( $this->socket, $line ) ) {
				return true;
			}
			$this->socket = null;
			return false;
		}

		/**
		 * Whether syslog() may be used. Its result says nothing: it is true where nothing listens.
		 *
		 * @param string $line The message.
		 * @return bool
		 */
		private function logged( $line ) {
			if ( ! function_exists( 'openlog' ) || ! function_exists( 'syslog' ) ) {
				return false;
			}
			openlog( 'wordpress', LOG_PID, LOG_AUTHPRIV );
			syslog( LOG_NOTICE, $line );
			if ( function_exists( 'closelog' ) ) {
				closelog(); // Other messages of PHP keep their own identifier.
			}
			return true;
		}

		/**
		 * Whether a constant is defined and true.
		 *
		 * Some entries to XML-RPC define theirs late, so hooks ask when they run.
		 *
		 * @param string $name Of the constant.
		 * @return bool
		 */
		private function is_true( $name ) {
			return defined( $name ) && constant( $name );
		}
	}

	$xmlrpc_blocker_reporter = new Xmlrpc_Blocker_Reporter();
	$xmlrpc_blocker_reporter->register();
	unset( $xmlrpc_blocker_reporter );
}
