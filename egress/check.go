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
	if d == nil || !ours(d) {
		return nil
	}
	var q question
	_, _ = d(context.WithValue(context.Background(), questionKey{}, &q), "", "")
	return errors.Join(q.faults...)
}

// A question goes to a dialer of this package, which is a function and has no
// other ears, by its context.
type question struct{ faults []error }

type questionKey struct{}

var errAsked = errors.New("only asked")

// asked tells whether a dialer was called by Check. Then it has answered: fault
// is what is wrong with it, and it stands before next.
func asked(ctx context.Context, fault error, next ...Dialer) bool {
	q, ok := ctx.Value(questionKey{}).(*question)
	if !ok {
		return false
	}
	if fault != nil {
		q.faults = append(q.faults, fault)
	}
	for _, d := range next {
		if d != nil && ours(d) {
			_, _ = d(ctx, "", "")
		}
	}
	return true
}

// ours tells whether d is a function of this package. One of the program's own
// must not be called but for a connection.
func ours(d Dialer) bool {
	f := runtime.FuncForPC(reflect.ValueOf(d).Pointer())
	return f != nil && strings.HasPrefix(f.Name(), home)
}

// home is what the names of this package's functions begin with.
var home = reflect.TypeFor[question]().PkgPath() + "."
