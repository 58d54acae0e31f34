package egress

// Answers tells whether d may answer TLS itself, in the place of the host that
// was asked for: a [Handler] or a [Secret] does, at any depth, and a function of
// the program's own may. Then its user has to trust the [CA] of its
// [Source]; with other dialers there is no need to.
func Answers(d Dialer) bool {
	if d == nil {
		return false
	}
	q := inquire(d)
	return q.answers || q.foreign
}
