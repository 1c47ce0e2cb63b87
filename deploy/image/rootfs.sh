#!/bin/sh
# Lays out a root file system, $1: the files of the Debian packages that are named in $2, as they
# are installed here, their licences included, and an ordinary user.
set -eu
root=$1
packages=$(sed 's/#.*//' "$2")

# Manuals, and libc's tables of character sets: Python has its own.
unread='^/usr/share/(man|locale|lintian|doc/.*/(changelog|README|NEWS|TODO))|/gconv/|/tini-static$'

files() {
    # shellcheck disable=SC2086  # one word a package
    dpkg-query --listfiles $packages | sort -u |
        grep --extended-regexp --invert-match "$unread" |
        while read -r path; do
            if [ -L "$path" ] || [ -f "$path" ]; then echo "$path"; fi
        done
}

folders() {
    for name in bin lib lib64 sbin; do
        mkdir -p "$root/usr/$name"
        ln -s "usr/$name" "$root/$name"
    done
    mkdir -p "$root/etc/ssl/certs" "$root/var/lib/dpkg" "$root/dev" "$root/proc" "$root/sys"
    mkdir -m 1777 "$root/tmp"
}

user() {
    echo 'argosy:x:10001:10001:Argosy:/var/lib/argosy:/usr/sbin/nologin' >"$root/etc/passwd"
    echo 'argosy:x:10001:' >"$root/etc/group"
    echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
    for folder in /spool /gateway /var/lib/argosy; do # a new volume takes owner and mode from here
        mkdir -p "$root$folder"
        chown 10001:10001 "$root$folder"
    done
}

folders
files | tar --create --no-recursion --files-from=- | tar --extract --directory="$root" --keep-directory-symlink
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
# shellcheck disable=SC2086
dpkg-query --status $packages >"$root/var/lib/dpkg/status" # for scanners
user
