package image

import (
	"context"

	"github.com/ctorhq/ctor/container"
)

// Command makes a command to run in an instance of its own, whose first
// process it is: nothing else of the image's entrypoint and command runs. The
// instance is made by the command's Start, and it is gone, with all that the
// command has written there, when the command has ended, however it ended; of
// one with a terminal, when Wait returns. A command that is never started costs
// nothing.
//
// As the first process of its container the command is spared by the kernel all
// signals that it has no handler for, SIGPIPE and SIGTERM too, save for SIGKILL
// and SIGSTOP from outside; and what it leaves behind ends with it. A command in
// [container.Container.Command] is a process like others.
//
// What differs from what the image says is the command's to say: Env, Dir,
// User, TTY. The container has the network, limits and walls of the zero
// container.Config; where others are wanted, make an instance with [Image.Run]
// and use its Command. There is no log of it.
//
// The end of ctx kills the command. Command panics if ctx is nil.
func (i *Image) Command(ctx context.Context, name string, arg ...string) *container.Cmd {
	return container.Command(ctx, i.ctor, i.Ref(), i.class(), name, arg...)
}
