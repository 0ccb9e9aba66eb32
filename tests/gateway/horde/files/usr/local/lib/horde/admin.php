<?php
// What an administrator does in Horde's pages, by the same functions:
//   policy true|allow|false [NAME=VALUE ...]   what is demanded of devices ("allow": those that cannot comply may pass), and
//                                              "reprovision all"; a policy that is not named is as Horde has it by itself
//   wipe DEVICE, cancelwipe DEVICE
require_once '/usr/share/horde/lib/Application.php';
Horde_Registry::appInit('horde', array('authentication' => 'none', 'cli' => true));
$state = $injector->getInstance('Horde_ActiveSyncState');
$state->setLogger($injector->getInstance('Horde_Log_Logger'));

function put($name, $type, $value)
{
    $perms = $GLOBALS['injector']->getInstance('Horde_Perms');
    if (!$perms->exists($name)) {
        $perms->addPermission($perms->newPermission($name, $type));
    }
    $one = $perms->getPermission($name);
    $one->data['type'] = $type;
    $one->data['default'] = $value;
    $one->save();
}

switch ($argv[1]) {
case 'policy':
    $root = 'horde:activesync:provisioning';
    put('horde', 'matrix', Horde_Perms::ALL);
    put('horde:activesync', 'boolean', true);
    put($root, 'enum', $argv[2]);
    $perms = $injector->getInstance('Horde_Perms');
    $named = array();
    foreach (array_slice($argv, 3) as $argument) {
        list($policy, $value) = explode('=', $argument, 2);
        $named[] = $policy;
        $flags = array('true' => true, 'false' => false);
        $flag = isset($flags[$value]);
        put("$root:$policy", $flag ? 'boolean' : 'int', $flag ? $flags[$value] : (int)$value);
    }
    $policies = new Horde_ActiveSync_Policies(null, Horde_ActiveSync::VERSION_FOURTEEN);
    foreach (array_diff($policies->getAvailablePolicies(), $named) as $policy) {
        if ($perms->exists("$root:$policy")) {
            $perms->removePermission($perms->getPermission("$root:$policy"));
        }
    }
    $state->resetAllPolicyKeys();
    break;
case 'wipe':
    $state->setDeviceRWStatus($argv[2], Horde_ActiveSync::RWSTATUS_PENDING);
    break;
case 'cancelwipe':
    $state->setDeviceRWStatus($argv[2], Horde_ActiveSync::RWSTATUS_OK);
    break;
default:
    exit(64);
}
