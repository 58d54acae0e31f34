package rootfs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// kernels are file systems whose files are the kernel's answers, not bytes that
// programs have written: by their magic numbers (statfs(2), linux/magic.h).
var kernels = map[uint32]string{
	unix.PROC_SUPER_MAGIC:      "procfs",
	unix.SYSFS_MAGIC:           "sysfs",
	unix.CGROUP_SUPER_MAGIC:    "cgroupfs",
	unix.CGROUP2_SUPER_MAGIC:   "cgroupfs",
	unix.DEVPTS_SUPER_MAGIC:    "devpts",
	unix.DEBUGFS_MAGIC:         "debugfs",
	unix.TRACEFS_MAGIC:         "tracefs",
	unix.SECURITYFS_MAGIC:      "securityfs",
	unix.SELINUX_MAGIC:         "selinuxfs",
	unix.SMACK_MAGIC:           "smackfs",
	unix.EFIVARFS_MAGIC:        "efivarfs",
	unix.PSTOREFS_MAGIC:        "pstore",
	unix.BINFMTFS_MAGIC:        "binfmt_misc",
	unix.BINDERFS_SUPER_MAGIC:  "binderfs",
	unix.BPF_FS_MAGIC:          "bpffs",
	unix.NSFS_MAGIC:            "nsfs",
	unix.PIPEFS_MAGIC:          "pipefs",
	unix.SOCKFS_MAGIC:          "sockfs",
	unix.ANON_INODE_FS_MAGIC:   "anon_inodefs",
	unix.RDTGROUP_SUPER_MAGIC:  "resctrl",
	unix.XENFS_SUPER_MAGIC:     "xenfs",
	unix.DAXFS_MAGIC:           "daxfs",
	unix.USBDEVICE_SUPER_MAGIC: "usbdevfs",
	unix.OPENPROM_SUPER_MAGIC:  "openpromfs",
	0x19800202:                 "mqueue",
	0x5a3c69f0:                 "apparmorfs",
	0x62656570:                 "configfs",
	0x65735543:                 "fusectl",
	0x67596969:                 "rpc_pipefs",
	0x6e667364:                 "nfsd",
}

// notKernels refuses a file of the kernel's. A container's link can lead
// there, and the kernel answers by the rights of the process that asks: the program
// would get what the container must not have (kernel addresses, the host's log), wait
// without end, or change what the container may not.
func (h handle) notKernels() error {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(int(h), &st) }); err != nil {
		return err
	}
	if name, ok := kernels[uint32(st.Type)]; ok {
		return &classed{fmt.Errorf("it is in the kernel's %s, which answers this program with more rights than the container has: "+
			"ask with a command in the container", name), []error{ErrNotRegular}}
	}
	return nil
}
