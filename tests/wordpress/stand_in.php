<?php
/**
 * Stand-ins for what the plugin uses of WordPress, and the order in which WordPress calls hooks.
 *
 * php stand_in.php PLUGIN SETTINGS: loads the plugin, runs the scenario of the settings (JSON) in
 * it, then WordPress' action shutdown. Calls of syslog and of what the plugin must not call go to
 * the file "record", a JSON array a line.
 */

$settings = json_decode( $argv[2], true );
foreach ( $settings['constants'] as $name => $value ) {
	define( $name, $value );
}
$_SERVER = $settings['server'] + array( 'argv' => $argv );
$_GET    = $settings['get'];
$hooks   = array();

class WP_User {
	public $user_login;

	public function __construct( $login ) {
		$this->user_login = $login;
	}
}

class WP_Error {
	private $code;

	public function __construct( $code ) {
		$this->code = $code;
	}

	public function get_error_code() {
		return $this->code;
	}
}

class IXR_Error {
	public $code;

	public function __construct( $code ) {
		$this->code = $code;
	}
}

function record( ...$words ) {
	file_put_contents( $GLOBALS['settings']['record'], json_encode( $words ) . "\n", FILE_APPEND );
}

// PHP 8 lets a program define a function that disable_functions took away.
$clock = 5;

/** The monotonic clock, which only scenarios advance. */
function hrtime( $as_number ) {
	return $GLOBALS['clock'];
}

if ( $settings['syslog'] && ! function_exists( 'syslog' ) ) {
	function openlog( ...$words ) {
		record( 'openlog', ...$words );
	}

	function syslog( ...$words ) {
		record( 'syslog', ...$words );
		return true;
	}

	function closelog() {
		record( 'closelog' );
	}
}

function update_site_option( ...$words ) {
	record( 'forbidden', ...$words );
}

function wp_salt( ...$words ) {
	record( 'forbidden', 'wp_salt stores keys' );
}

function add_filter( $name, $function, $priority = 10, $arguments = 1 ) {
	$GLOBALS['hooks'][ $name ][ $priority ][] = array( $function, $arguments );
}

function add_action( ...$words ) {
	add_filter( ...$words );
}

function apply_filters( $name, ...$arguments ) {
	$at = $GLOBALS['hooks'][ $name ] ?? array();
	ksort( $at );
	foreach ( $at as $functions ) {
		foreach ( $functions as list( $function, $count ) ) {
			$arguments[0] = $function( ...array_slice( $arguments, 0, $count ) );
		}
	}
	return $arguments[0] ?? null;
}

function do_action( $name, ...$arguments ) {
	$at = $GLOBALS['hooks'][ $name ] ?? array();
	ksort( $at );
	foreach ( $at as $functions ) {
		foreach ( $functions as list( $function, $count ) ) {
			$function( ...array_slice( $arguments, 0, $count ) );
		}
	}
}

function get_user_by( $field, $value ) {
	global $settings;
	if ( 'broken' === $value ) {
		throw new Error( 'a broken site' );
	}
	if ( 'email' === $field ) {
		$value = $settings['mails'][ $value ] ?? null;
	}
	return isset( $settings['users'][ $value ] ) ? new WP_User( $value ) : false;
}

function get_site_option( $name ) {
	return $GLOBALS['settings']['options'][ $name ] ?? false;
}

function get_option( $name ) {
	return get_site_option( $name );
}

function is_admin() {
	return $GLOBALS['settings']['admin'];
}

function is_user_logged_in() {
	return $GLOBALS['settings']['logged_in'];
}

/** As wp_authenticate() of WordPress 6.1. */
function wp_authenticate( $name, $password ) {
	$known = $GLOBALS['settings']['users'][ is_string( $name ) ? $name : '' ] ?? null;
	$empty = ! is_string( $name ) || '' === $name || '' === $password;
	$user  = null !== $known && $known === $password ? new WP_User( $name ) : new WP_Error( $empty ? 'empty_username' : 'incorrect_password' );
	$user  = apply_filters( 'authenticate', $user, $name, $password );
	if ( $user instanceof WP_Error && ! $empty ) {
		do_action( 'wp_login_failed', $name, $user );
	}
	return $user;
}

/** As the server of WordPress' XML-RPC: after a failure it checks no other password. */
class wp_xmlrpc_server {
	public $error;
	private $failed = false;

	public function login( $name, $password ) {
		$user = $this->failed ? new WP_Error( 'login_prevented' ) : wp_authenticate( $name, $password );
		if ( $user instanceof WP_User ) {
			return true;
		}
		$this->failed = true;
		$this->error  = apply_filters( 'xmlrpc_login_error', new IXR_Error( 403 ), $user );
		return false;
	}

	public function pingback( $code ) {
		return apply_filters( 'xmlrpc_pingback_error', new IXR_Error( $code ) );
	}
}

/** As WordPress' own filter, which hides the code. */
add_filter(
	'xmlrpc_pingback_error',
	function ( $error ) {
		return 48 === $error->code ? $error : new IXR_Error( 0 );
	}
);

function xmlrpc() {
	defined( 'XMLRPC_REQUEST' ) || define( 'XMLRPC_REQUEST', true );
	$GLOBALS['wp_xmlrpc_server'] = new wp_xmlrpc_server();
	return $GLOBALS['wp_xmlrpc_server'];
}

register_shutdown_function( 'do_action', 'shutdown' );
require $argv[1];
eval( $settings['scenario'] );
