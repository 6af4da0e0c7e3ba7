#!/bin/sh
# Builds the three programs so that each needs nothing but itself, and puts them
# into a folder, with the certificates of public authorities and what else the
# image is made of: static.sh FOLDER
#
# Static and with glibc: what the compiler's own target links needs no other one.
# --target is given though it is this machine's, or what runs while building
# (macros) would have to be static too.
set -eu
out=${1:?usage: static.sh FOLDER}
cd "$(dirname "$0")/.."
certificates=${CERTIFICATES:-/etc/ssl/certs/ca-certificates.crt}
target=$(rustc -vV | sed -n 's/^host: //p')

RUSTFLAGS="-C target-feature=+crt-static ${RUSTFLAGS-}" \
    cargo build --locked --release --target "$target" --bins -p gateway -p api -p worker

mkdir -p "$out/etc/ssl/certs"
for program in gateway api worker; do
    install -m 755 "${CARGO_TARGET_DIR:-target}/$target/release/$program" "$out/$program"
    # Lines of sources are three quarters of a program; names of functions stay.
    strip --strip-debug "$out/$program"
done
install -m 644 "$certificates" "$out/etc/ssl/certs/ca-certificates.crt"
# Who 65532 is, for programs that show names, and where names of hosts are looked up.
echo 'carillon:x:65532:65532::/:' > "$out/etc/passwd"
echo 'carillon:x:65532:' > "$out/etc/group"
echo 'hosts: files dns' > "$out/etc/nsswitch.conf"
