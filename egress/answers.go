package egress

import "context"

// Answers tells whether d may answer TLS itself, in the place of the host that
// was asked for: a [Handler] or a [Secret] does, at any depth, and a function of
// the program's own may. Then its user has to trust the [CA] of its
// [Source]; with other dialers there is no need to.
func Answers(d Dialer) bool {
	if d == nil {
		return false
	}
	q := inquire(context.Background(), d, "")
	return q.answers || q.foreign
}

// Forwards tells whether d lets a container look up what a name has beside
// addresses, such as TXT and SRV: [Public] does for every name, [Allow] for
// those that a rule names, whatever its port, [Deny] for those that no rule without
// a port denies and the next dialer forwards, and a [Mux] asks the dialers of
// the narrowest key. [Limit], [Record] and [Secret] ask the next dialer. A [Handler] lets
// none pass, and neither does a function of the program's own, which is not asked.
func Forwards(ctx context.Context, d Dialer, name string) bool {
	return d != nil && name != "" && inquire(ctx, d, name).forwards
}
