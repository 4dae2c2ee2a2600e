#!/usr/bin/env bash
# Tells a Telegram chat what a jail does.
#
#   telegram_notif.sh -a start|stop        the jail has started or stopped
#   telegram_notif.sh -b IP [-r REASON]    IP has been banned
#   telegram_notif.sh -u IP [-r REASON]    the ban of IP is over
#
# From the environment, or from telegram.conf beside this script:
#   TELEGRAM_TOKEN   the token of the bot
#   TELEGRAM_CHAT    the chat to write to
#   TELEGRAM_API     where the API is (default https://api.telegram.org)
#
# Without a token or a chat it says nothing: a notification is no reason for a ban to fail.
set -euo pipefail

conf=$(dirname -- "${BASH_SOURCE[0]}")/telegram.conf
# shellcheck source=/dev/null
if [[ -r $conf ]]; then source "$conf"; fi
: "${TELEGRAM_API:=https://api.telegram.org}" "${TELEGRAM_TOKEN:=}" "${TELEGRAM_CHAT:=}"

usage() { sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

text='' reason=''
while getopts 'a:b:u:r:' option; do
    case $option in
        a) case $OPTARG in
               start) text='fail2ban: the jail has started' ;;
               stop) text='fail2ban: the jail has stopped' ;;
               *) usage ;;
           esac ;;
        b) text="fail2ban: banned $OPTARG" ;;
        u) text="fail2ban: unbanned $OPTARG" ;;
        r) reason=$OPTARG ;;
        *) usage ;;
    esac
done
[[ -n $text ]] || usage
[[ -n $TELEGRAM_TOKEN && -n $TELEGRAM_CHAT ]] || exit 0

# The token goes through a configuration on standard input: the command line of a process is no secret.
curl --silent --show-error --fail --output /dev/null --max-time 10 --config - \
     --data-urlencode "chat_id=$TELEGRAM_CHAT" \
     --data-urlencode "text=$text${reason:+: $reason}" \
     <<< "url = \"$TELEGRAM_API/bot$TELEGRAM_TOKEN/sendMessage\""
