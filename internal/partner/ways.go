package partner

import "countersign/receiver"

// ways are the quirks without a switch: what is done about each everywhere, or what one has to know. Those with a switch are in
// receiver.QuirkTable. The ids are those of the list of quirks; L-1 to L-8 are what other peers taught.
var ways = []Row{
	{"Q-02", "issuer and address of the metadata share no path", "metadata_url is taken as it is; the issuer in it must be the source's, byte for byte", ""},
	{"Q-03", "short metadata", "an endpoint that is absent turns its function off", ""},
	{"Q-04", "odd spec_version", "it is shown and not judged", ""},
	{"Q-05", "two names of a delivery method", "both are read; the one that the other side's metadata lists is sent", ""},
	{"Q-06", "keys served under another media type", "our keys are served as application/json, with kid, alg and use", Ours},
	{"Q-07", "keys of other uses in the key set", "the key is chosen by kid, use and kty; other keys are no error", ""},
	{"Q-10", "one stream for each client", "409 leads to stream: adopt, which compares before it takes; nothing that is not ours is changed or deleted", Ours},
	{"Q-11", "unknown members of a request are refused", "only what a receiver supplies is sent", ""},
	{"Q-12", "events_delivered is less than was asked for", "the difference is shown; nothing at all is a broken stream", Theirs},
	{"Q-13", "several shapes of the list of streams", "an array, one object, and an object with streams are read", ""},
	{"Q-14", "other status codes of success", "every status from 200 to 299 is success", ""},
	{"Q-15", "PATCH repeats the whole configuration", "as transmitter: a new authorization_header is kept and used by the next try", Ours},
	{"Q-16", "a credential without its scheme", "the whole value is compared and sent; a value without a scheme is pointed out", Theirs},
	{"Q-17", "further members are wanted in the stream object", "status, aud and iss are in every stream object that we give", Ours},
	{"Q-18", "aud as text or as a list", "both are read, in the stream and in the token", ""},
	{"Q-19", "a status endpoint that is partly there", "without one, the status is not asked for; an unknown word is shown", ""},
	{"Q-20", "default_subjects is NONE", "the doctor says that such a stream can deliver nothing until subjects are added", Theirs},
	{"Q-21", "adding a subject tells nothing", "a 200 is not taken for proof; only an event is", ""},
	{"Q-22", "limits of verification, and verification unasked", "min_verification_interval and 429 are kept to; a verification event without state is liveness", ""},
	{"Q-23", "asking for verification proves nothing", "only the event with our state counts", ""},
	{"Q-24", "scopes that are not attached", "invalid_scope of the token endpoint is told as what it is", Theirs},
	{"Q-25", "401 means many things", "one new token, one more try, then the causes are named", Theirs},
	{"Q-26", "empty members are left out", "events_delivered that is absent is empty; default_subjects that is absent is the metadata's", ""},
	{"Q-27", "verification comes before the answer to its request", "the state is kept before it is asked with, and nothing is locked meanwhile", ""},
	{"Q-33", "ids of another name space", "an id is looked up only at the place that gave it; else the signal is unresolved", ""},
	{"Q-38", "credential types beyond CAEP's", "unknown words are kept", ""},
	{"Q-40", "what a pause does differs", "the profile says whether events are held or lost", Theirs},
	{"Q-41", "further or missing claims", "each has its own switch: Q-41/exp, Q-41/aud, Q-41/typ; several events in one token are refused", Theirs},
	{"Q-42", "audiences of many shapes", "the audience is that of the stream, else the source's, byte for byte", ""},
	{"Q-43", "tokens without a signature by poll", "refused always: no switch lets an unsigned token pass", Theirs},
	{"Q-44", "unknown members are dropped by the receiver", "as transmitter: nothing that a decision needs is in a member of our own", Ours},
	{"Q-46", "initiating_entity is not to be relied on", "the profile says so, and the guide warns rules that go by it", Theirs},
	{"Q-47", "change_type is never create", "the guide says so: a rule for create alone never acts", Theirs},
	{"Q-48", "what is not reported", "the profile lists it, beside what is", Theirs},
	{"Q-49", "people without the chosen identifier", "the guide says to choose iss_sub, which everybody has", Theirs},
	{"Q-50", "short time-outs", "a token is kept and answered 202; work is done afterwards", ""},
	{"Q-51", "202 is not done", "as transmitter: a 202 is shown as delivered and as no more; only a receipt says that something was done", ""},
	{"Q-52", "error bodies", "what was expected is not told to a caller; codes are the standard's", ""},
	{"Q-54", "polls that are not held, and repeats", "polls without a wait are spaced; what was not acknowledged comes again and is a repeat", ""},
	{"Q-55", "addresses that a push may not go to", "as transmitter: loopback and private networks are refused unless they are allowed; as receiver the guide says what to allow there", Theirs},
	{"Q-56", "one act reported twice", "both are kept and shown; the second finds nothing that is left to end", ""},
	{"Q-57", "a partner takes a minute", "the clock of a receipt starts when it was sent", ""},
	{"Q-58", "poll is faster than push", "the guide says to choose poll; the profile says how late a push may be", Theirs},
	{"Q-59", "only 2xx counts, and retries end", "the profile says for how long is tried; silence raises an alarm", Theirs},
	{"Q-60", "a loose poll", "unknown and repeated SETs of an answer are no error", ""},
	{"Q-61", "hub and source in one private network", "the guide begins with poll, which needs no address of ours", Theirs},
	{"Q-62", "our own action comes back as a signal", "the guide warns: no policy for its signals acts at the product that sent them", Ours},
	{"Q-63", "the poll address vanishes on update", "the address of the create answer is kept, and sent back", ""},
	{"L-1", "the receiver is asked for its status", "GET below a receive address is 404, cheap, and no refusal", ""},
	{"L-2", "no audience anywhere", "Q-41/aud, and Q-18/create where the other side takes one", Theirs},
	{"L-3", "the poll address is said once", "as Q-63", ""},
	{"L-4", "delete is 200, listing is 403, changes want the id in the query", "every 2xx is success; a stream is found by the id that we kept; Q-14/query", ""},
	{"L-5", "polls need a token of their own", "Q-54/token", Theirs},
	{"L-6", "a stream that verifies and never delivers", "the doctor says so, and names default_subjects", Theirs},
	{"L-7", "verification asked too often", "we wait for min_verification_interval and do not ask to find out", ""},
	{"L-8", "verification without sub_id or state", "Q-30 takes it; it is shown that such a stream cannot be verified by state", Theirs},
}

// Rows are all quirks: of the list in its order, then what other peers taught.
func Rows() []Row {
	var all []Row
	for _, k := range receiver.QuirkTable {
		r, _ := Lookup(k.ID)
		all = append(all, r)
	}
	return order(append(all, ways...))
}
