#include "textflag.h"

// func rawVfork(trap, a1, a2, a3 uintptr) (r1 uintptr)
//
// The child returns from here first and uses the stack below, where the parent
// would look for its return address. So both have it in a register.
TEXT ·rawVfork(SB),NOSPLIT|NOFRAME,$0-40
	MOVQ	trap+0(FP), AX
	MOVQ	a1+8(FP), DI
	MOVQ	a2+16(FP), SI
	MOVQ	a3+24(FP), DX
	XORL	R10, R10
	XORL	R8, R8
	XORL	R9, R9
	POPQ	R12
	SYSCALL
	PUSHQ	R12
	MOVQ	AX, r1+32(FP)
	RET
