// Package operator is the door of a node to its own people and systems: gRPC, REST beside it, and the client that
// speaks to either side's owner, the command line.
//
// A [Door] owns the conversation, not the work. Every handler converts what came in, makes one call inward, and
// converts the answer; requests and attachments are done by whoever implements [Requests] and [Attachments] (room
// exchange, by way of the assembly), alerts and subscriptions by [Alerts] and [Subscriptions] (room alert), accounts by
// people, decisions by policy, look-ups by the directory's snapshot.
//
// Who calls is shown by one "authorization: Bearer SECRET" and nothing else: no cookie, no query parameter, so a
// foreign web page has nothing to ride on. Every method but Login wants it, and is looked up in one written table
// (scope.go) that says which scope a token needs there, or that only persons may call it; a method without a line is
// refused. What a caller may do to a request or an alert is decided by the gate behind it with that in hand; what
// concerns accounts, tokens, the directory and the node is decided here.
//
// Streams. A watch begins at a cursor and misses nothing and repeats nothing: it asks for what changed since, sends
// it, and waits. Nobody keeps a queue for it, so a slow reader costs others nothing. Alerts come with their
// content, sixteen opened at a time. A watch ends when its session ends, is locked or loses the right; so do uploads and
// downloads. The header "enlace-cursor" says where it began. Files move in messages of at most 256 KiB, one at a time, as
// fast as the other side takes them; a file larger than 16 GiB or silent for two minutes is given up, and nothing of it is
// kept.
//
// REST (room operator/rest) is the same methods by way of the same gRPC server: JSON with the field names of the proto, unknown fields and
// parameters refused, one spelling for each path. Beside the generated routes stand
//
//	POST, PUT /v1/requests/{id}/attachments             the body is the file, ?name= its name
//	GET  /v1/requests/{id}/attachments/{message}/{index} the file; whole if Content-Length is reached
//	POST, PUT /v1/alerts/{id}/files, GET .../{index}    the same for files of alerts
//	GET  /v1/watch, /v1/watch/alerts                    server-sent events; resume from Last-Event-ID
//	GET  /openapi.json, /healthz                        without a token
//
// Every error there is {"kind", "code", "message", "hint"}: kinds of room fault, codes of PROTOCOL 8.4 where one fits.
//
// Who may call is decided before a body is read, on both faces; a path that leads nowhere reads none. Login, the one method
// for anybody, takes 8 KiB. The bodies that REST holds at once have a limit together, 32 MiB, beyond which the answer is 503.
// An answer has at most 16 MiB: a case shows all its messages.
//
// The room stores nothing and logs no names, addresses or content.
package operator
