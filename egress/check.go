package egress

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"strings"
)

// Check finds what is wrong with a dialer before it is used: a malformed rule
// of [Allow], [Deny] or [Mux], also below other dialers of this package. Its
// errors are ctor.ErrInvalid. Other functions are not called, and nil and
// functions of others are right as they are.
func Check(d Dialer) error {
	if d == nil {
		return nil
	}
	return errors.Join(inquire(context.Background(), d, "").faults...)
}

// A question goes to a dialer of this package, which is a function and has no
// other ears, by its context.
type question struct {
	faults  []error     // what is wrong with it
	answers bool        // it answers in another host's place
	foreign bool        // it leads to a function of the program's own
	policy  *policy     // what it is, as data; nil: it is more than data
	below   []*question // those that went to what stands behind it

	name     string // what is to be looked up; "": nothing is
	forwards bool   // it lets that pass
}

type questionKey struct{}

var errAsked = errors.New("only asked")

// inquire asks d, and what stands behind it.
func inquire(ctx context.Context, d Dialer, name string) *question {
	q := &question{name: name}
	switch {
	case d == nil:
	case ours(d):
		_, _ = d(context.WithValue(ctx, questionKey{}, q), "", "")
	default:
		q.foreign = true
	}
	return q
}

// asked is not nil where a dialer was called by inquire. Then it has answered:
// fault is what is wrong with it, and it stands before next.
func asked(ctx context.Context, fault error, next ...Dialer) *question {
	q, ok := ctx.Value(questionKey{}).(*question)
	if !ok {
		return nil
	}
	if fault != nil {
		q.faults = append(q.faults, fault)
	}
	for _, d := range next {
		b := inquire(ctx, d, q.name)
		q.below = append(q.below, b)
		q.faults = append(q.faults, b.faults...)
		q.answers = q.answers || b.answers
		q.foreign = q.foreign || b.foreign
	}
	return q
}

// ours tells whether d is a function of this package. One of the program's own
// must not be called but for a connection. All of ours are methods: a function
// literal would have the name of where it was inlined.
func ours(d Dialer) bool {
	f := runtime.FuncForPC(reflect.ValueOf(d).Pointer())
	return f != nil && strings.HasPrefix(f.Name(), home)
}

// home is what the names of this package's functions begin with.
var home = reflect.TypeFor[question]().PkgPath() + "."
