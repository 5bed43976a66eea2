// swift-tools-version:5.9
import PackageDescription

let package = Package(
    name: "Unspoken",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [.library(name: "Unspoken", targets: ["Unspoken"])],
    targets: [
        // Made by build.sh: the static library for each platform, with UniFFI's header and module map.
        .binaryTarget(name: "unspokenFFI", path: "unspokenFFI.xcframework"),
        // Made by build.sh: UniFFI's Swift source.
        .target(name: "UnspokenNative", dependencies: ["unspokenFFI"], path: "Sources/UnspokenNative"),
        .target(name: "Unspoken", dependencies: ["UnspokenNative"], path: "Sources/Unspoken"),
    ]
)
