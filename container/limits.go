package container

import "github.com/ctorhq/ctor/internal/spec"

// Limits bound what a container may use. What no container could start with is
// ctor.ErrInvalid, and what this host can't give ctor.ErrUnavailable, both before
// anything is made. Those down to IO are cgroups', and [Container.Update] changes
// them; the others are as they were when the container was made.
type Limits struct {
	// CPUs is the CPU time in a second, in seconds: 0.5 is half of one CPU, 2
	// is two of them. At least 0.01. 0 means no limit.
	CPUs float64

	// CPUSet lists the CPUs that the container runs on, such as "0-2,5". ""
	// means all that the host has.
	CPUSet string

	// CPUShares weigh the container against others where CPUs are short: one with
	// 2048 gets twice the time of one with 1024. From 2 to 262144; 0 means 1024.
	CPUShares uint64

	// Memory is what all processes together may have, in bytes, files in tmpfs
	// included. A process that wants more is killed, which ExitError and Info tell
	// as OOMKilled. At least 6 MiB, since the runtime's own first steps count. 0
	// means no limit.
	Memory int64

	// Swap is what may be on the disk beside Memory, in bytes, where the host
	// counts it (Docker's --memory-swap is the sum of both). 0 means nothing, -1
	// no limit.
	Swap int64

	// Pids is how many processes and threads there may be. A fork beyond it
	// fails. 0 means 4096; -1 means no limit.
	Pids int64

	// IO bounds what goes from and to block devices.
	IO IO

	// Ulimits are resource limits of each process, setrlimit(2), by their names
	// in lower case: "nofile", "core", "nproc", "memlock". Those that are not
	// named are the program's. To raise one above the program's own needs
	// CAP_SYS_RESOURCE.
	Ulimits map[string]Ulimit

	// Shm is the size of /dev/shm in bytes. 0 means 64 MiB. What is in it counts
	// as Memory.
	Shm int64

	// Disk is what the container may write to its root file system and to volumes
	// without a name together, in bytes, in as many files, directories and links as there
	// are 4 KiB in it, or a thousand; at least 1 MiB, and 0 means no limit. Where
	// Config.Root is on ext4 or xfs, mounted with prjquota, the kernel refuses what is
	// beyond it, with EDQUOT, xfs with ENOSPC (on ext4 not to processes with CAP_SYS_RESOURCE); a hostile
	// program can take its files out of the project, as chattr -p does, unless it has
	// Security.UserNS. Elsewhere this program looks once a second, less often where a
	// look takes long, and once a minute while no process of the container uses any CPU
	// time, and kills a container that has more, or that can't be looked at,
	// which ExitError and Info tell as DiskExceeded: what it writes between two looks,
	// and files that it has removed and keeps open, are not bounded; and with Detach it
	// is ctor.ErrUnavailable. Mounts have bounds of their own.
	Disk int64

	// OOMScore says whom the kernel kills first when the host has no memory left:
	// 1000 is the container, -1000 never the container. 0 means what other programs
	// have. Less than 0 needs CAP_SYS_RESOURCE.
	OOMScore int

	// Devices are devices of the host that the container may use.
	Devices []Device
}

// IO bounds what a container reads from and writes to block devices. With cgroup v1
// the kernel bounds direct writes alone.
type IO struct {
	// Weight weighs the container against others where a device is short, with
	// an I/O scheduler that knows it. From 10 to 1000; 0 means the kernel's
	// default, which Update does not go back to.
	Weight uint16

	// Rates are by the path of a whole disk, such as "/dev/sda".
	Rates map[string]Rate
}

// Rate is what may go from and to a disk in a second. The zero value is no limit.
type Rate struct {
	// ReadBytes and WriteBytes may go in a second. 0 means no limit.
	ReadBytes, WriteBytes uint64

	// Reads and Writes are operations in a second. 0 means no limit.
	Reads, Writes uint64
}

// Ulimit is a resource limit of a process, in the unit that setrlimit(2) has for it:
// bytes, seconds, or a number.
type Ulimit struct {
	// Soft is what the process has. -1 means no limit, and 0 nothing.
	Soft int64

	// Hard is how far the process may raise Soft. -1 means no limit, and 0 the same
	// as Soft.
	Hard int64
}

// Device is a device of the host's in a container.
type Device struct {
	// Source is its path on the host, such as "/dev/fuse".
	Source string

	// Target is its path in the container. "" means the same.
	Target string

	// Access is what the container may do: "r", "w" and "m", for making nodes of
	// it. "" means "rwm".
	Access string
}

// minDisk is the least bound of a container's disk: the runtime makes what it mounts
// on.
const minDisk = 1 << 20

// check finds what no container's disk can be bounded by.
func (l Limits) check() error {
	if l.Disk < 0 || l.Disk > 0 && l.Disk < minDisk {
		return invalid("disk limit of %d bytes: it must be at least %d, or 0 for none", l.Disk, minDisk)
	}
	return nil
}

// spec is what Update changes as well, and fixed what it does not.
func (l Limits) spec() (s spec.Limits, err error) {
	s = spec.Limits{CPUs: l.CPUs, CPUSet: l.CPUSet, CPUShares: l.CPUShares, Memory: l.Memory, Swap: l.Swap, Pids: l.Pids}
	s.IO, err = spec.BlockIO(l.IO.Weight, l.IO.Rates)
	return s, err
}

func (l Limits) fixed() (f spec.Fixed, err error) {
	f = spec.Fixed{Shm: l.Shm, OOMScore: l.OOMScore}
	if f.Rlimits, err = spec.Ulimits(l.Ulimits); err != nil {
		return f, err
	}
	f.Devices, err = spec.Devices(l.Devices)
	return f, err
}
