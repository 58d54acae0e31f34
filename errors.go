package ctor

import (
	"github.com/containerd/errdefs"

	"github.com/ctorhq/ctor/internal/engine"
)

// The classes of errors, for errors.Is. Every error of this module that
// belongs to one of them wraps it, whichever package it comes from. They are
// the values that containerd's own errors wrap, so code that tests for those
// goes on working; ErrClosed and ErrLocked are this module's own.
//
// A call that its context ended wraps the context's error instead.
var (
	// ErrNotFound: there is no such image, container, tag, user or file.
	ErrNotFound error = errdefs.ErrNotFound
	// ErrAlreadyExists: the name is taken.
	ErrAlreadyExists error = errdefs.ErrAlreadyExists
	// ErrInvalid: an argument, or something read from an image or a registry,
	// is not what it must be.
	ErrInvalid error = errdefs.ErrInvalidArgument
	// ErrUnavailable: the host, a registry or a daemon does not offer what is
	// needed now. Where the host is at fault the message ends with the command
	// that mends it.
	ErrUnavailable error = errdefs.ErrUnavailable
	// ErrClosed: the engine was closed.
	ErrClosed = engine.ErrClosed
	// ErrLocked: another engine has the root open. The message names its
	// process.
	ErrLocked = engine.ErrLocked
)
