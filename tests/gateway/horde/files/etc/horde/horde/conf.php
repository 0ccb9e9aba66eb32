<?php
// Horde as a mail server that enforces a policy: log-in through IMAP, everything else in PostgreSQL, ActiveSync up to 14.1.
$conf['debug_level'] = E_ERROR;
$conf['max_exec_time'] = 0;
$conf['compress_pages'] = false;
$conf['secret_key'] = '6f0e6e2c-6a52-4b4a-9a53-7f1b0c7b2d11';
$conf['umask'] = 077;
$conf['testdisable'] = true;
$conf['use_ssl'] = 2;
$conf['server'] = array('name' => 'horde.lab.test', 'port' => 443);
$conf['urls'] = array('token_lifetime' => 30, 'hmac_lifetime' => 30, 'pretty' => false);
$conf['safe_ips'] = array();
$conf['session'] = array(
    'name' => 'Horde', 'use_only_cookies' => true, 'timeout' => 0, 'cache_limiter' => 'nocache', 'max_time' => 72000,
);
$conf['cookie'] = array('domain' => '', 'path' => '/');
$conf['sql'] = array(
    'phptype' => 'pgsql', 'hostspec' => '127.0.0.1', 'port' => 5432, 'protocol' => 'tcp', 'username' => 'horde',
    'password' => 'horde', 'database' => 'horde', 'charset' => 'utf-8', 'splitread' => false, 'logqueries' => false,
);
$conf['auth'] = array(
    'admins' => array(), 'checkip' => false, 'checkbrowser' => false, 'resetpassword' => false,
    'alternate_login' => false, 'redirect_on_logout' => false, 'list_users' => 'none', 'driver' => 'application',
    'params' => array('app' => 'imp', 'count_bad_logins' => false, 'login_block' => false),
);
$conf['signup']['allow'] = false;
$conf['log'] = array(
    'enabled' => true, 'priority' => 'NOTICE', 'ident' => 'HORDE', 'name' => '/var/log/horde/horde.log',
    'type' => 'file', 'params' => array('append' => true),
);
$conf['log_accesskeys'] = false;
$conf['prefs'] = array('maxsize' => 65535, 'driver' => 'Sql', 'params' => array('driverconfig' => 'horde'));
$conf['alarms']['driver'] = false;
$conf['group']['driver'] = 'Mock';
$conf['perms'] = array('driver' => 'Sql', 'params' => array('driverconfig' => 'horde'), 'driverconfig' => 'horde');
$conf['share'] = array(
    'driver' => 'Sqlng', 'auto_create' => true, 'world' => false, 'any_group' => false, 'hidden' => false, 'cache' => false,
);
$conf['cache'] = array(
    'default_lifetime' => 0, 'driver' => 'Null', 'params' => array('sub' => 0), 'use_memorycache' => '', 'compress' => false,
);
$conf['history'] = array('driver' => 'Sql', 'params' => array('driverconfig' => 'horde'));
$conf['lock'] = array('driver' => 'Sql', 'params' => array('driverconfig' => 'horde'));
$conf['token']['driver'] = 'Null';
$conf['mailer'] = array('type' => 'null', 'params' => array());
$conf['vfs'] = array('type' => 'Sql', 'params' => array('driverconfig' => 'horde'));
$conf['sessionhandler'] = array('type' => 'Builtin', 'memcache' => false, 'hashtable' => false);
$conf['tmpdir'] = '/var/lib/horde/tmp';
$conf['image']['driver'] = 'Png';
$conf['exif']['driver'] = 'Bundled';
$conf['hashtable']['driver'] = 'none';
$conf['nosql']['phptype'] = false;
$conf['ldap']['useldap'] = false;
$conf['activesync'] = array(
    'enabled' => true, 'storage' => 'Sql', 'params' => array('driverconfig' => 'horde'), 'emailsync' => true,
    'version' => '14.1', 'auth' => array('type' => 'basic'), 'autodiscovery' => 'user', 'outlookdiscovery' => false,
    'logging' => array('type' => 'onefile', 'path' => '/var/log/horde/activesync.log', 'level' => 2),
    'ping' => array(
        'deviceping' => true, 'heartbeatmin' => 10, 'heartbeatmax' => 2700, 'heartbeatdefault' => 480, 'waitinterval' => 5,
    ),
);
