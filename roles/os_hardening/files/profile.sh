# Owned by the role os_hardening. An interactive shell that nobody uses ends after ten minutes.
umask 077
if [ -n "$PS1" ]; then
    TMOUT=600
    readonly TMOUT
    export TMOUT
fi
