// Package seal keeps secrets at rest.
//
// A Keyset holds two keys of separate purposes: one seals records (AES-256-GCM, a fresh nonce each), one makes
// fingerprints by which a secret is found again without opening any (HMAC-SHA256). The keyset is stored beside the
// records it seals, wrapped once by the key encryption key, the KEK. The KEK lives in a file of its own and is needed at
// start only. Whoever has the database but not the KEK learns nothing of a secret, cannot confirm a guess, and cannot
// swap two sealed values: each is bound by associated data to the record it belongs to.
package seal
