<?php
/**
 * install.php DIRECTORY HOST: installs the site, and prints what tests have to know of it.
 */

define( 'WP_INSTALLING', true );
$_SERVER['HTTP_HOST'] = $argv[2];
$_SERVER['PHP_SELF']  = '/index.php';
$host                 = $argv[2];
require $argv[1] . '/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';

/** No mail is sent. */
add_filter( 'pre_wp_mail', '__return_false' );
wp_install( 'A site', 'admin', 'admin@example.org', true, '', 'right horse' );
update_option( 'siteurl', "http://$host" );
update_option( 'home', "http://$host" );
update_option( 'permalink_structure', '/%postname%/' );
$editor = wp_insert_user(
	array( 'user_login' => 'editor', 'user_pass' => 'right editor', 'user_email' => 'editor@example.org', 'role' => 'editor' )
);
wp_insert_user( array( 'user_login' => 'a b', 'user_pass' => 'right third', 'user_email' => 'third@example.org' ) );
$posts = array();
foreach ( array( 'one', 'two', 'three' ) as $name ) {
	$posts[] = wp_insert_post(
		array(
			'post_title'   => $name,
			'post_content' => $name,
			'post_status'  => 'publish',
			'post_author'  => 1,
			'ping_status'  => 'open',
		)
	);
}
list( $password ) = WP_Application_Passwords::create_new_application_password( $editor, array( 'name' => 'app' ) );
echo "\n" . json_encode( array( 'posts' => $posts, 'password' => $password, 'version' => $wp_version ) ) . "\n";
