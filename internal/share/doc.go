// Package share serves host directories and files to a guest that was given
// them, and nothing else of the host. It is the process `abode-agent share`, one
// for each guest that has shares:
//
//	abode-agent share --socket PATH --share TAG=PATH[:ro] ...
//
// The process connects to the socket, which is a hypervisor's end of the
// virtio-serial port "abode.share", greets the guest's agent, and serves every
// yamux stream as one mount (see package wire for what is said, package fs for
// how files are served, and package guest for the other side). It ends when
// the socket is closed.
//
// # Jail
//
// What reads a guest's requests has namespaces of its own (mount, PID, network,
// IPC, UTS); its root is an empty tmpfs in which each share is mounted as /TAG,
// without devices, programs and set-user-ID, and truly read-only when it is
// given so. It has no /proc, no network, no other program, and of root's
// capabilities those alone that serving files of any owner takes: CHOWN,
// DAC_OVERRIDE, FOWNER and FSETID. It can gain no privileges, and a seccomp
// filter allows it the system calls it needs.
//
// Needs Linux 5.12 on the host (mount_setattr).
package share
