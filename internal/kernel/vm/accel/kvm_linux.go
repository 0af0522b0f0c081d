package accel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var errTooSlow = errors.New("too slow")

func gid(fi os.FileInfo) uint32 { return fi.Sys().(*syscall.Stat_t).Gid }

// From linux/kvm.h; the API's version has been 12 since 2007.
const (
	kvmGetAPIVersion       = 0xae00
	kvmCreateVM            = 0xae01
	kvmGetVCPUMmapSize     = 0xae04
	kvmCreateVCPU          = 0xae41
	kvmSetUserMemoryRegion = 0x4020ae46
	kvmSetTSSAddr          = 0xae47
	kvmRun                 = 0xae80
	kvmGetRegs             = 0x8090ae81
	kvmSetRegs             = 0x4090ae82
	kvmGetSregs            = 0x8138ae83
	kvmSetSregs            = 0x4138ae84

	exitHLT   = 5
	memSize   = 0x4000
	codeAt    = 0x1000
	sregsSize = 0x138
	regsSize  = 0x90
)

// program is real-mode code: mov ecx, 1000000; l: dec ecx; jnz l; hlt
var program = []byte{0x66, 0xb9, 0x40, 0x42, 0x0f, 0x00, 0x66, 0x49, 0x75, 0xfc, 0xf4}

func ioctl(fd int, req uint, arg uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), arg)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// probe runs program in a guest of its own and returns how long it took, or
// errTooSlow after the limit.
func probe(limit time.Duration) (time.Duration, error) {
	kvm, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(kvm)
	if v, err := ioctl(kvm, kvmGetAPIVersion, 0); err != nil || v != 12 {
		return 0, fmt.Errorf("unknown API version %d: %w", v, errors.Join(err, unix.EOPNOTSUPP))
	}
	vm, err := ioctl(kvm, kvmCreateVM, 0)
	if err != nil {
		return 0, fmt.Errorf("cannot create a guest: %w", err)
	}
	defer unix.Close(vm)
	mem, err := unix.Mmap(-1, 0, memSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(mem)
	copy(mem[codeAt:], program)
	// Intel's real mode without "unrestricted guest" needs three spare pages.
	_, _ = ioctl(vm, kvmSetTSSAddr, 0xfffbd000)
	// SAFETY: struct kvm_userspace_memory_region; mem outlives the only virtual
	// CPU, which is closed before Munmap runs.
	region := [4]uint64{0, 0, memSize, uint64(uintptr(unsafe.Pointer(&mem[0])))}
	if _, err := ioctl(vm, kvmSetUserMemoryRegion, uintptr(unsafe.Pointer(&region))); err != nil {
		return 0, fmt.Errorf("cannot give a guest memory: %w", err)
	}
	vcpu, err := ioctl(vm, kvmCreateVCPU, 0)
	if err != nil {
		return 0, fmt.Errorf("cannot create a virtual CPU: %w", err)
	}
	defer unix.Close(vcpu)
	if err := start(vcpu); err != nil {
		return 0, err
	}
	size, err := ioctl(kvm, kvmGetVCPUMmapSize, 0)
	if err != nil || size < 16 {
		return 0, fmt.Errorf("cannot map a virtual CPU: %w", errors.Join(err, unix.EINVAL))
	}
	run, err := unix.Mmap(vcpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return 0, fmt.Errorf("cannot map a virtual CPU: %w", err)
	}
	defer unix.Munmap(run)
	return timeRun(vcpu, run, limit)
}

// start points the CPU at the program, in real mode.
func start(vcpu int) error {
	var sregs [sregsSize]byte
	// SAFETY: the buffers have the size that the request's number encodes.
	if _, err := ioctl(vcpu, kvmGetSregs, uintptr(unsafe.Pointer(&sregs))); err != nil {
		return fmt.Errorf("cannot read a virtual CPU: %w", err)
	}
	binary.NativeEndian.PutUint64(sregs[0:], 0)  // cs.base
	binary.NativeEndian.PutUint16(sregs[12:], 0) // cs.selector
	if _, err := ioctl(vcpu, kvmSetSregs, uintptr(unsafe.Pointer(&sregs))); err != nil {
		return fmt.Errorf("cannot set up a virtual CPU: %w", err)
	}
	var regs [regsSize]byte
	binary.NativeEndian.PutUint64(regs[16*8:], codeAt) // rip
	binary.NativeEndian.PutUint64(regs[17*8:], 2)      // rflags: the bit that is always set
	if _, err := ioctl(vcpu, kvmSetRegs, uintptr(unsafe.Pointer(&regs))); err != nil {
		return fmt.Errorf("cannot set up a virtual CPU: %w", err)
	}
	return nil
}

// timeRun runs the CPU until it halts. A signal to its thread ends it at the limit.
func timeRun(vcpu int, run []byte, limit time.Duration) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid, pid := unix.Gettid(), unix.Getpid()
	var late, over atomic.Bool
	stopped := make(chan struct{})
	timer := time.AfterFunc(limit, func() {
		defer close(stopped)
		late.Store(true)
		for !over.Load() { // once more if the signal came just before the ioctl
			_ = unix.Tgkill(pid, tid, unix.SIGURG) // the Go runtime's own signal: harmless
			time.Sleep(time.Millisecond)
		}
	})
	defer func() {
		over.Store(true)
		if !timer.Stop() {
			<-stopped // no signal once the thread is another's
		}
	}()
	begin := time.Now()
	for {
		_, err := ioctl(vcpu, kvmRun, 0)
		took := time.Since(begin)
		switch {
		case late.Load() || took > limit:
			return took, errTooSlow
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err != nil:
			return took, fmt.Errorf("cannot run a guest: %w", err)
		}
		if reason := binary.NativeEndian.Uint32(run[8:]); reason != exitHLT { // kvm_run.exit_reason
			return took, fmt.Errorf("a guest of three instructions ended with exit reason %d", reason)
		}
		return took, nil
	}
}
