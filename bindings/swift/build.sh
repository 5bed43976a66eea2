#!/usr/bin/env bash
# Makes what Package.swift needs, on a Mac with Xcode and Rust:
#   rustup target add aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios aarch64-apple-darwin x86_64-apple-darwin
#   bindings/swift/build.sh
# UNSPOKEN_FEATURES chooses cargo's features ("--no-default-features --features gpu,cpu,store").
# With --host only this machine's library is built and the sources are compiled against it (no XCFramework).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
target=${CARGO_TARGET_DIR:-target}
native=$here/Sources/UnspokenNative
headers=$target/swift-headers

generate() { # the library to read
  rm -rf "$headers" "$native"
  mkdir -p "$headers" "$native"
  cargo run --quiet --package unspoken-bindgen -- generate --no-format --language swift --out-dir "$headers" "$1"
  mv "$headers"/*.swift "$native/"
  mv "$headers"/*.modulemap "$headers/module.modulemap"
}

if [ "${1:-}" = --host ]; then
  cargo build --package unspoken-uniffi
  case $(uname) in Darwin) library=$target/debug/libunspoken_uniffi.dylib ;; *) library=$target/debug/libunspoken_uniffi.so ;; esac
  generate "$library"
  out=$target/swift-host
  mkdir -p "$out"
  (cd "$out" && swiftc -emit-module -emit-library -module-name UnspokenNative -parse-as-library \
    -Xcc "-fmodule-map-file=$headers/module.modulemap" -I "$headers" -L "$(dirname "$library")" -lunspoken_uniffi "$native"/*.swift)
  (cd "$out" && swiftc -emit-module -emit-library -module-name Unspoken -parse-as-library -I . -L . -lUnspokenNative \
    -Xcc "-fmodule-map-file=$headers/module.modulemap" -I "$headers" "$here"/Sources/Unspoken/*.swift)
  exit
fi

read -ra features <<< "${UNSPOKEN_FEATURES:-}"
ios=(aarch64-apple-ios)
simulator=(aarch64-apple-ios-sim x86_64-apple-ios)
mac=(aarch64-apple-darwin x86_64-apple-darwin)
for triple in "${ios[@]}" "${simulator[@]}" "${mac[@]}"; do
  cargo build --profile dist --package unspoken-uniffi --target "$triple" ${features[@]+"${features[@]}"}
done
generate "$target/aarch64-apple-darwin/dist/libunspoken_uniffi.dylib"
join() { # name, triples
  local name=$1
  shift
  mkdir -p "$target/$name"
  lipo -create "${@/#/$target/}" -output "$target/$name/libunspoken_uniffi.a"
}
lib=dist/libunspoken_uniffi.a
join apple-simulator "${simulator[@]/%//$lib}"
join apple-mac "${mac[@]/%//$lib}"
rm -rf "$here/unspokenFFI.xcframework"
xcodebuild -create-xcframework \
  -library "$target/${ios[0]}/$lib" -headers "$headers" \
  -library "$target/apple-simulator/libunspoken_uniffi.a" -headers "$headers" \
  -library "$target/apple-mac/libunspoken_uniffi.a" -headers "$headers" \
  -output "$here/unspokenFFI.xcframework"
