// Package seal makes and opens envelopes, and the frames of alerts: who said it (signatures over the header), who may
// read it (an age file sealed to the recipients), and what exactly was said (the commitment that ties the two together).
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
// An alert to an audience has the same header, signatures and commitment, but no sealed body of its own. It is sealed
// once, whoever reads it, to the epoch key of its audience, and signed again by the node that publishes it:
//
//	alert  = header | signatures | Content | salt, number, chain hash before               PROTOCOL 7.4
//	frame  = publisher, epoch, chain hash | age file with one enlace-epoch stanza          PROTOCOL 7.3, 7.4
//	chain  = SHA-256 over salt, number, chain hash before, envelope digest                 PROTOCOL 7.5
//
// The order on receipt: [ParseFrame], [ParsedFrame.Verify] (the node), [Frame.Open] (the place in the chain),
// [Opened.Verify] (the authority and the content). [CoveredBy] tells whose signature covers a fault. What nodes say about
// chains and epochs is signed by one node and never rebuilt: [EpochPackage], [ChainIndex], [CumulativeReceipt]; it goes
// from node to node in a [Control] envelope, sealed to the receiving node. The Stored functions read again, without
// checking signatures, what was verified before it was stored.
//
// An attachment is sealed as a file of its own to a key of its own that travels in the body (PROTOCOL 6).
//
// The room never sees a private key: callers hand in a [Signer] and an [Opener]. Epoch keys, which all members of an
// audience share, are the one secret that passes through it. It touches neither storage nor network.
package seal
