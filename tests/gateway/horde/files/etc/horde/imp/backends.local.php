<?php
$servers['imap'] = array(
    'disabled' => false, 'name' => 'IMAP', 'hostspec' => '127.0.0.1', 'hordeauth' => true, 'protocol' => 'imap',
    'port' => 143, 'secure' => false, 'maildomain' => 'lab.test',
    'special_mboxes' => array('drafts' => 'Drafts', 'sent' => 'Sent', 'trash' => 'Trash'),
);
