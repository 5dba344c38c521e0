// Package people knows who may log in to a node: accounts with passwords, sessions, and scoped tokens for systems.
//
// A [Desk] does the work for the doors: Login, Authenticate, Logout, accounts, tokens. It decides who somebody is;
// what they may do is asked of room policy by the caller, before the Desk is called. The Desk keeps its records in a
// [Store] that room ledger implements; each write is one [Change] in one transaction, with the audit [Event] of the
// fact in it. What a method reports as done is durable when it returns.
//
// Secrets. A session or a token is 32 random bytes, shown once as "enlace_s_" or "enlace_t_" and 43 characters of
// unpadded URL-safe base64. Only the SHA-256 of the 32 bytes is stored: no dictionary can hold 256 random bits, so a
// slow hash would add nothing. Passwords are stored as argon2id hashes in their PHC string form, after the
// OpaqueString profile of RFC 8265, so that ñ is ñ whichever keyboard wrote it.
//
// Guessing. After five failures an account waits, from 5 s doubling up to 15 minutes, and answers the right password
// as it answers a wrong one; live sessions go on. A wrong name, a wrong password and a waiting account get the same
// answer, after the same work and not before the same time. At most two hashes are computed at once and eight wait;
// beyond that the answer is Retry.
//
// Endings. A session ends 12 hours after login or 2 hours after its last use. Lock, Logout, ResetPassword, SetRoles
// and RevokeToken take effect before they return: what is remembered of live sessions is dropped with the write.
//
// One Desk writes to a Store at a time; it is safe for use by several goroutines. The room opens no connection,
// logs nothing, and puts no secret into an error or an event.
package people
