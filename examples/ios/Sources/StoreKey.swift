import Foundation
import Security

/// The 32 bytes that encrypt the store: random, in the Keychain of this device only.
enum StoreKey {
    private static let query: [CFString: Any] = [
        kSecClass: kSecClassGenericPassword,
        kSecAttrService: "dev.unspoken.store",
        kSecAttrAccount: "key",
    ]

    static func get() throws -> Data {
        var found: CFTypeRef?
        let read = query.merging([kSecReturnData: true]) { $1 }
        if SecItemCopyMatching(read as CFDictionary, &found) == errSecSuccess, let key = found as? Data {
            return key
        }
        var key = Data(count: 32)
        let drawn = key.withUnsafeMutableBytes { SecRandomCopyBytes(kSecRandomDefault, 32, $0.baseAddress!) }
        let write = query.merging([
            kSecValueData: key,
            kSecAttrAccessible: kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly,
        ]) { $1 }
        let status = drawn == errSecSuccess ? SecItemAdd(write as CFDictionary, nil) : drawn
        guard status == errSecSuccess else { throw NSError(domain: NSOSStatusErrorDomain, code: Int(status)) }
        return key
    }
}
