// Package wire makes every gRPC server and client of Enlace; no other room makes one.
//
// What it gives them all:
//
//   - Identity. The certificate of the other side is judged by an [Identity] against the directory in force: at the
//     handshake, again on every call, and again on every open stream whenever the directory changes. A [Peer] in the
//     context says who is calling. DESIGN 5; promise P7.
//   - Refusal before work. A call is authorised when its headers have come and before a byte of its message is
//     read, so a stranger costs nothing. A connection on which too many calls were refused is closed.
//   - Limits: size of messages and headers, bytes of messages held at once, calls per connection, per caller and per
//     second, connections by address and by caller, time per call and per silence. Strangers can take no part that known
//     callers need; one caller not that of the others. Promise P12.
//   - Thin lines. [ServerOptions] and [ClientOptions] have Thin, which bounds what waits before a line of some 64 kbit/s.
//   - Errors. [ToStatus] and [FromStatus] are the one mapping between fault kinds and gRPC codes. Causes never leave.
//   - A panic in a handler is logged with its stack and answered blandly; the program goes on.
//
// Nothing in the server assumes client certificates: a door that knows its callers by tokens hands in its own
// Authorise. The room rules nothing else, converts no noun, stores nothing and logs no personal data: methods,
// nodes, codes and durations only.
//
// On the wire an error is a gRPC status whose message is the sentence for people, with one google.rpc.ErrorInfo:
// domain "enlace", reason = the fault's code, metadata "kind" and "hint". PROTOCOL 8.4 lists the codes.
package wire
