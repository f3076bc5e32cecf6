#!/usr/bin/env bash
# HTTPS for openway behind nginx, with a certificate from Let's Encrypt, on Debian or Ubuntu.
#
#   sudo ops/tls/setup_certbot.sh --domain access.example.org --email ops@example.org [--dry-run]
#
#   --domain NAME       what people will type; DNS must lead here already (or DOMAIN=, or edit the line below)
#   --email ADDRESS     where Let's Encrypt may write to                  (or EMAIL=)
#   --upstream ADDRESS  where openway listens; 127.0.0.1:8001             (or UPSTREAM=)
#   --staging           a certificate that browsers refuse, to rehearse with without using up Let's Encrypt's limits
#   --dry-run           say what would be done, and change nothing
#
# Run it by hand: it asks before it changes anything. Run it again as often as you like: what is as it should be is left alone.
# It installs nginx and certbot, gets the certificate (nginx need not be stopped), puts ops/nginx/conf.d/app.conf in place with your
# domain, and sees to the renewal. openway without nginx needs none of this: see openway serve --acme-domain.
set -euo pipefail

domain=${DOMAIN:-access.example.org}
email=${EMAIL:-}
upstream=${UPSTREAM:-127.0.0.1:8001}

root=${OPENWAY_TLS_ROOT:-} # a directory to work in instead of /, for tests
template=$(dirname "$(readlink -f "$0")")/../nginx/conf.d/app.conf
dry='' staging=''

die() { printf 'setup_certbot.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "$*"; }

while [ $# -gt 0 ]; do
	case $1 in
	--domain | --email | --upstream)
		[ $# -ge 2 ] || die "$1 needs a value"
		printf -v "${1#--}" %s "$2"
		shift
		;;
	--staging) staging=--staging ;;
	--dry-run) dry=yes ;;
	-h | --help)
		sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
		exit 0
		;;
	*) die "unknown argument $1; see --help" ;;
	esac
	shift
done

# run COMMAND...: does it, or says that it would.
run() {
	if [ -n "$dry" ]; then
		say "would run: $*"
	else
		say "running: $*"
		"$@"
	fi
}

changed=''
# place FILE MODE: standard input becomes the file, at once, unless it is that already.
place() {
	local file=$root$1 mode=$2 new
	new=$(mktemp)
	cat >"$new"
	if cmp -s "$new" "$file"; then
		say "as it should be: $1"
		rm "$new"
		return
	fi
	changed=yes
	if [ -n "$dry" ]; then
		say "would write $1"
		rm "$new"
		return
	fi
	say "writing $1"
	mkdir -p "$(dirname "$file")"
	chmod "$mode" "$new"
	mv "$new" "$file.new"
	mv "$file.new" "$file"
}

domain=${domain,,} # as certbot names its directories
[[ $domain =~ ^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}$ ]] || die "\"$domain\" is not a domain name such as access.example.org"
[ "$domain" != access.example.org ] || die "give your own domain: --domain, or edit the line domain= in this file"
[[ $email =~ ^[^@[:space:]]+@[^@[:space:]]+\.[^@[:space:]]+$ ]] || die "give an e-mail address for Let's Encrypt: --email ops@$domain"
[[ $upstream =~ ^[A-Za-z0-9.:_-]+:[0-9]+$ ]] || die "\"$upstream\" is not an address such as 127.0.0.1:8001"
[ -f "$template" ] || die "$template is missing: run this from a checkout of openway"
[ -n "$dry$root" ] || [ "$(id -u)" = 0 ] || die "run it as root: sudo $0 (or look first: --dry-run)"
command -v apt-get >/dev/null || die "this is neither Debian nor Ubuntu: install nginx and certbot by hand, and use ops/nginx/conf.d/app.conf"
addresses=$(getent ahosts "$domain" | awk '{print $1}' | sort -u | paste -sd ' ') || addresses=''
[ -n "$addresses" ] || die "DNS does not know $domain yet: make it lead to this machine, then run this again"

cat <<EOF
This machine will serve https://$domain by nginx, in front of openway at $upstream.
  DNS leads $domain to: $addresses
  certificate: Let's Encrypt${staging:+ (staging: browsers will refuse it)}, for $email; by this you accept its terms of service
  written: /etc/nginx/conf.d/openway.conf, and a hook of certbot that reloads nginx
EOF
if [ -z "$dry" ]; then
	printf 'Go on? [y/N] '
	read -r answer || answer=''
	case $answer in
	y | Y | yes) ;;
	*) die 'nothing was changed' ;;
	esac
fi

missing=()
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx)
command -v certbot >/dev/null || missing+=(certbot)
if [ ${#missing[@]} -gt 0 ]; then
	run apt-get update -qq
	run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
fi

systemd=''
if [ -d "$root/run/systemd/system" ]; then systemd=yes; fi

reload_nginx() {
	run nginx -t || return 1
	if [ -n "$systemd" ]; then
		run systemctl reload-or-restart nginx
	elif [ -s "$root/run/nginx.pid" ]; then
		run nginx -s reload
	else
		run nginx
	fi
}

conf=/etc/nginx/conf.d/openway.conf
live=/etc/letsencrypt/live/$domain
[ -d "$root/var/www/letsencrypt" ] || run mkdir -p "$root/var/www/letsencrypt"

if [ ! -e "$root$live/fullchain.pem" ]; then
	# Until there is a certificate, nginx answers the authority, and nothing else.
	place $conf 644 <<EOF
server {
    listen 80;
    listen [::]:80;
    server_name $domain;
    location ^~ /.well-known/acme-challenge/ { root /var/www/letsencrypt; }
    location / { return 503; }
}
EOF
	reload_nginx || die 'nginx does not start: see above'
fi
keep=--keep-until-expiring
if [ -z "$staging" ] && grep -qs '^server *=.*staging' "$root/etc/letsencrypt/renewal/$domain.conf"; then
	keep=--force-renewal # what a rehearsal left would be kept as well
fi
run certbot certonly --webroot -w "$root/var/www/letsencrypt" -d "$domain" --email "$email" --agree-tos --non-interactive "$keep" ${staging:+"$staging"}
[ -n "$dry" ] || [ -e "$root$live/fullchain.pem" ] || die "certbot left no certificate in $live: see /var/log/letsencrypt/letsencrypt.log"

changed=''
before=''
if [ -e "$root$conf" ] && [ -z "$dry" ]; then before=$(cat "$root$conf"); fi
new=$(sed -e "s/access\.example\.org/$domain/g" -e "s/server 127\.0\.0\.1:8001;/server $upstream;/" "$template")
place $conf 644 <<<"$new"
if [ "$keep" = --force-renewal ]; then changed=yes; fi
if [ -n "$changed" ] && ! reload_nginx; then
	if [ -z "$before" ]; then
		rm -f "$root$conf"
		die "nginx does not take $conf; it was taken away again"
	fi
	printf '%s\n' "$before" >"$root$conf"
	die "nginx does not take $conf; what was there before is there again"
fi

place /etc/letsencrypt/renewal-hooks/deploy/openway-nginx 755 <<'EOF'
#!/bin/sh
# A renewed certificate is taken into use without dropping a connection.
set -e
nginx -t -q
if [ -d /run/systemd/system ]; then systemctl reload nginx; else nginx -s reload; fi
EOF

if [ -n "$systemd" ]; then
	run systemctl enable --now certbot.timer
elif [ -e "$root/etc/cron.d/certbot" ]; then
	say 'as it should be: /etc/cron.d/certbot renews'
else
	place /etc/cron.d/openway-certbot 644 <<'EOF'
# Twice a day, as Let's Encrypt asks; nothing is done until the last third of a certificate's life.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
17 3,15 * * * root certbot renew --quiet
EOF
fi

cat <<EOF

${dry:+Nothing was changed. }Now openway's own settings (/etc/openway/openway.env), then restart it:
  OPENWAY_LISTEN=$upstream
  OPENWAY_TRUSTED_PROXIES=127.0.0.1
  OPENWAY_PUBLIC_URL=https://$domain
  ALLOWED_HOSTS=$domain
Then see for yourself:
  curl -sS https://$domain/readyz
  certbot renew --dry-run
EOF
