// Package keyring is the only room that sees private keys. DESIGN 5, 9 (Keyring).
//
// A [Ring] holds the keys of one node, or of the hub: it signs, opens what was sealed to it, and issues and renews
// the certificates of its TLS identity. An [OfflineKey] is one state or steward key, kept off every server. No
// private key leaves the room; callers name a key by its fingerprint or slot and get a signature, a plaintext or a
// TLS configuration. Secret and unlocking values print as "[private]" whatever the format verb.
//
// The room knows no message, no directory and no server. Whom to trust is not decided here: every mutual TLS
// configuration takes a verify function, is useless without it, and runs it on resumed sessions too.
//
// # The key file
//
// One binary age v1 file, mode 0600, at most 8 MiB, locked by one of
//
//   - a passphrase (age scrypt), or
//   - an unlock identity (age hybrid ML-KEM-768 + X25519), one "AGE-SECRET-KEY-PQ-1..." line in a file of its own.
//
// So `age -d -i UNLOCK KEYFILE` (age 1.3 or later) opens it without us. The plaintext is JSON:
//
//	{"version":1,"keys":[
//	  {"slot":"node-sign","algorithm":"ed25519","created":1767225600,"private":"<base64 of the 32-byte seed>"},
//	  {"slot":"authority-seal/mx/fgr","algorithm":"age-hybrid","created":1767225600,"private":"AGE-SECRET-KEY-PQ-1..."},
//	  {"slot":"node-bus","algorithm":"nkey","created":1767225600,"private":"SU..."},
//	  {"slot":"ca","algorithm":"ecdsa-p256","created":1767225600,"private":"<base64 of PKCS #8>","certificate":"<base64 of DER>"},
//	  {"slot":"ledger","algorithm":"secret","created":1767225600,"private":"<base64 of 32 bytes>"}]}
//
// Keys stand in the order they were made; the last of a slot is the current one and the earlier ones are its rotated
// generations, which are never dropped: old sealing keys live as long as what they protect. Unknown fields, slots,
// algorithms and versions are refused.
//
// The file is written whole to a temporary neighbour, synced, renamed over the old one, and the folder synced. A
// crash leaves the old file or the new one. TLS leaf keys are never in it: they are made afresh at each issue.
//
// # The offline key
//
// A binary age v1 file locked by a passphrase, holding the line
//
//	enlace-private-key ed25519 <base64 of the 32-byte seed> <comment>
//
// and beside it, under the same name with ".pub" added, the line to hand out:
//
//	enlace-key ed25519 <base64 of the 32-byte public key> <comment>
package keyring

import "fmt"

// unprintable, embedded in a struct, keeps it out of every log and error: fmt prints "[private]" for it.
type unprintable struct{}

// Format implements fmt.Formatter for all verbs.
func (unprintable) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[private]")) }
