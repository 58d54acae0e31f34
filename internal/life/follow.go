package life

import "context"

// Complete gives a function that tells when the life which a container is in has ended
// and its output is complete, or as complete as it will be: what it gives is closed then.
// now gives that life. One goroutine at a time may call it.
func Complete(ctx context.Context, now func() Life) func() <-chan struct{} {
	var of Life
	var end chan struct{}
	return func() <-chan struct{} {
		l := now()
		if l == of {
			return end
		}
		complete := make(chan struct{})
		go func() {
			defer close(complete)
			if _, err := l.Exited(ctx); err == nil {
				_, _ = l.Drained(ctx)
			}
		}()
		of, end = l, complete
		return end
	}
}
