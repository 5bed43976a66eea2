#!/usr/bin/env bash
# The native libraries and UniFFI's Kotlin source for build.gradle.kts. Needs the NDK and:
#   rustup target add aarch64-linux-android x86_64-linux-android && cargo install cargo-ndk
# UNSPOKEN_FEATURES chooses cargo's features ("--no-default-features --features gpu,cpu,store").
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."
read -ra features <<< "${UNSPOKEN_FEATURES:-}"
cargo ndk --target arm64-v8a --target x86_64 --platform 26 --output-dir "$here/src/main/jniLibs" \
  build --profile dist --package unspoken-uniffi ${features[@]+"${features[@]}"}
# UniFFI reads what is exported from a library of this machine.
cargo build --package unspoken-uniffi
case $(uname) in Darwin) library=libunspoken_uniffi.dylib ;; *) library=libunspoken_uniffi.so ;; esac
cargo run --quiet --package unspoken-bindgen -- generate --no-format --language kotlin \
  --config "$here/uniffi-android.toml" --out-dir "$here/generated" "${CARGO_TARGET_DIR:-target}/debug/$library"
