// Package seal makes and opens envelopes: who said it (signatures over the header), who may read it (an age file
// sealed to the recipients), and what exactly was said (the commitment that ties the two together).
//
// An envelope is header bytes, signatures over them, and a sealed body:
//
//	header    = Context bytes | commitment | size and SHA-256 of the sealed body          PROTOCOL 5.1
//	signature = Ed25519 over PAE("enlace/v1/header", header)                               PROTOCOL 5.4
//	sealed    = age v1 file, one mlkem768x25519 stanza per recipient in header order       PROTOCOL 5.6
//	  opens to  u32 length | Content | zeros up to the Padmé length
//	commitment = RFC 6962 root over salted leaves: context, items, attachments            PROTOCOL 5.5
//
// The order on receipt is fixed: [ParseEnvelope] bounds and splits, [Parsed.Verify] checks signatures before it reads
// the header, then that the sender owns the keys and that the body is the one the header names, [Envelope.Open]
// decrypts and recomputes the commitment. A stolen body under another's header fails at the last step, because the
// context it was committed to is not the context it came with.
//
// An attachment is sealed as a file of its own to a key of its own that travels in the body (PROTOCOL 6).
//
// The room never sees a private key: callers hand in a [Signer] and an [Opener]. It touches neither storage nor network.
package seal
