// Package nudge tells people that something immediate waits, and nothing else.
//
// A duty officer is not always at a desk (domain.md 12). When an immediate item comes, the desk of the authority gets a
// mail or a webhook; in its quiet hours, or when nobody has read the item in time, the duty desk gets it. A [Notice]
// says only for whom something waits: there is no field for a title, a category, a state or the identifier of the item,
// so that whoever reads the mail on the way learns no more than that.
//
// The package keeps no state and starts nothing. [Target.Next] is a pure plan that a durable queue drives: given how
// many nudges went out and when, it says whom to tell next and at what time. [Sender.Send] makes one attempt. The queue
// must hold the ID and the progress of an item, and no address or secret: those come from the configuration at each
// start ([Load]).
//
// Mail goes over SMTP with STARTTLS; a password never travels without TLS. Webhooks follow Standard Webhooks
// (symmetric, v1), go to listed hosts alone, over HTTPS, without proxies or redirects, and never to an address inside
// the house unless the list names that very address.
package nudge
