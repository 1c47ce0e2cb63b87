#!/bin/sh
# Takes out of the packages in folder $1 what no process of the fleet reads: symbols for
# debuggers, and descriptions of every service of AWS (requests are signed, nothing more).
set -eu
find "$1" -name '*.so*' -not -path '*.libs/*' -exec strip --strip-unneeded {} +
find "$1/botocore/data" -mindepth 1 -maxdepth 1 -type d -exec rm -r {} +
find "$1" -type d -name test -path '*/tornado/*' -prune -exec rm -r {} +
