<?php
/**
 * What tests change of a site, by headers of the request. Loaded before the plugin.
 */

defined( 'ABSPATH' ) || exit;

// A class of this name keeps the plugin from doing anything: what does WordPress answer without it?
if ( isset( $_SERVER['HTTP_X_WITHOUT_PLUGIN'] ) ) {
	class Xmlrpc_Blocker_Reporter {
	}
}
if ( isset( $_SERVER['HTTP_X_DISABLED'] ) ) {
	add_filter( 'xmlrpc_enabled', '__return_false' );
}
if ( isset( $_SERVER['HTTP_X_LATE_EXIT'] ) ) {
	add_filter(
		'xmlrpc_login_error',
		function () {
			exit;
		}
	);
}
// Newer versions refuse documentation addresses, and application passwords over plain HTTP.
add_filter( 'http_request_host_is_external', '__return_true' );
add_filter( 'wp_is_application_passwords_available', '__return_true' );
