#!/usr/bin/env bash
# Builds the C library and installs header, shared and static library, and the pkg-config file: install.sh PREFIX
# UNSPOKEN_PROFILE chooses cargo's profile (dist), UNSPOKEN_FEATURES its features ("--no-default-features --features cpu,store").
set -euo pipefail
prefix=${1:?install.sh PREFIX}
cd "$(dirname "$0")/.."
profile=${UNSPOKEN_PROFILE:-dist}
# Without the rlib that the tests link, which keeps cargo from optimising across crates.
read -ra features <<< "${UNSPOKEN_FEATURES:-}"
cargo rustc --profile "$profile" --package unspoken-ffi --lib --crate-type cdylib,staticlib ${features[@]+"${features[@]}"}
target=${CARGO_TARGET_DIR:-target}/${profile/dev/debug}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
case $(uname) in
  Darwin) shared=libunspoken_ffi.dylib private="-framework Metal -framework QuartzCore -framework Foundation" ;;
  *) shared=libunspoken_ffi.so private="-lpthread -ldl -lm" ;;
esac
install -d "$prefix/include" "$prefix/lib/pkgconfig"
if [ "$(uname)" = Linux ]; then
  # Linked once more from the static library: what dependencies have for C is neither exported nor kept. Stripped.
  "${CC:-cc}" -shared -o "$target/unspoken.so" -Wl,-s,-z,relro,-z,now,--gc-sections,-soname,$shared -Wl,--version-script=ffi/unspoken.map \
    -Wl,--whole-archive "$target/libunspoken_ffi.a" -Wl,--no-whole-archive $private -lgcc_s
  mv "$target/unspoken.so" "$target/$shared"
fi
install -m 644 ffi/include/unspoken.h "$prefix/include/"
install -m 755 "$target/$shared" "$prefix/lib/"
install -m 644 "$target/libunspoken_ffi.a" "$prefix/lib/"
sed -e "s|@PREFIX@|$(cd "$prefix" && pwd)|" -e "s|@VERSION@|$version|" -e "s|@PRIVATE@|$private|" \
  ffi/unspoken.pc.in > "$prefix/lib/pkgconfig/unspoken.pc"
