<?php
$conf['server']['server_list'] = 'none';
$conf['user'] = array('allow_view_source' => true, 'autocomplete_threshold' => 1, 'select_sentmail_folder' => false);
$conf['compose'] = array(
    'use_vfs' => false, 'attach_size_limit' => 0, 'attach_count_limit' => 0, 'reply_limit' => 200000,
);
$conf['maillog']['driver'] = 'history';
$conf['sentmail']['driver'] = 'Null';
$conf['contactsimage']['backends'] = array();
$conf['pgp']['keylength'] = 2048;
$conf['smime']['cafile'] = '';
$conf['spam'] = array();
$conf['mailbox'] = array('max_attachments' => 0);
$conf['tasklist'] = array();
$conf['notepad'] = array();
$conf['menu'] = array('apps' => array());
