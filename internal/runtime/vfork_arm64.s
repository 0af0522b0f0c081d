#include "textflag.h"

// func rawVfork(trap, a1, a2, a3 uintptr) (r1 uintptr)
//
// The return address is in the link register, which both have.
TEXT ·rawVfork(SB),NOSPLIT|NOFRAME,$0-40
	MOVD	trap+0(FP), R8
	MOVD	a1+8(FP), R0
	MOVD	a2+16(FP), R1
	MOVD	a3+24(FP), R2
	MOVD	ZR, R3
	MOVD	ZR, R4
	MOVD	ZR, R5
	SVC
	MOVD	R0, r1+32(FP)
	RET
