package dev.unspoken.sample

import android.content.Context
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyProperties
import java.io.File
import java.security.KeyStore
import java.security.SecureRandom
import javax.crypto.Cipher
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec

/** The 32 bytes that encrypt the store: random, kept in a file that only a key of the Android Keystore opens. */
object StoreKey {
    private const val ALIAS = "unspoken-store"

    fun get(context: Context): ByteArray {
        val file = File(context.noBackupFilesDir, "store.key")
        if (file.exists()) {
            val sealed = file.readBytes()
            val cipher = cipher(Cipher.DECRYPT_MODE, GCMParameterSpec(128, sealed.copyOf(12)))
            return cipher.doFinal(sealed, 12, sealed.size - 12)
        }
        val key = ByteArray(32).also { SecureRandom().nextBytes(it) }
        val cipher = cipher(Cipher.ENCRYPT_MODE, null)
        file.writeBytes(cipher.iv + cipher.doFinal(key))
        return key
    }

    private fun cipher(mode: Int, spec: GCMParameterSpec?): Cipher =
        Cipher.getInstance("AES/GCM/NoPadding").apply { if (spec == null) init(mode, wrapping()) else init(mode, wrapping(), spec) }

    private fun wrapping(): SecretKey {
        val store = KeyStore.getInstance("AndroidKeyStore").apply { load(null) }
        (store.getKey(ALIAS, null) as? SecretKey)?.let { return it }
        val purposes = KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT
        val spec = KeyGenParameterSpec.Builder(ALIAS, purposes)
            .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
            .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
            .setKeySize(256)
            .build()
        return KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, "AndroidKeyStore").run {
            init(spec)
            generateKey()
        }
    }
}
