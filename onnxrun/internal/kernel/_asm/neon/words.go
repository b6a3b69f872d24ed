package neon

// words are the instructions on whole registers with all register fields 0:
// bits 0 to 4 take the destination, 5 to 9 and 16 to 20 the sources (Arm
// Architecture Reference Manual, C7.2).
var words = map[string]uint32{
	"FADD.4S": 0x4E20D400, "FSUB.4S": 0x4EA0D400, "FMUL.4S": 0x6E20DC00, "FDIV.4S": 0x6E20FC00,
	"FMAX.4S": 0x4E20F400, "FMIN.4S": 0x4EA0F400, "FMAXNM.4S": 0x4E20C400,
	"FMLA.4S": 0x4E20CC00, "FMLS.4S": 0x4EA0CC00,
	"FMLA1.4S": 0x4F801000, // by one element of the second source: bit 1 of its number is 11, bit 0 is 21
	"FCMGT.4S": 0x6EA0E400, "FCMEQ.4S": 0x4E20E400,
	"FNEG.4S": 0x6EA0F800, "FABS.4S": 0x4EA0F800, "FSQRT.4S": 0x6EA1F800,
	"FRINTN.4S": 0x4E218800, "FRINTM.4S": 0x4E219800, "FRINTP.4S": 0x4EA18800, "FCVTNS.4S": 0x4E21A800, "SCVTF.4S": 0x4E21D800,

	"FADD.2D": 0x4E60D400, "FSUB.2D": 0x4EE0D400, "FMUL.2D": 0x6E60DC00, "FMLA.2D": 0x4E60CC00,
	"FDIV.2D": 0x6E60FC00, "FSQRT.2D": 0x6EE1F800, "FADDP.2D": 0x6E60D400, "FCMGT.2D": 0x6EE0E400,
	"FCVTL.2D": 0x0E617800, "FCVTL2.2D": 0x4E617800, // of the lower and the upper half of a source in .4S
	"FCVTN.2S": 0x0E616800, "FCVTN2.4S": 0x4E616800, // into the lower half, into the upper beside it
	"SCVTF.2D": 0x4E61D800, "UCVTF.2D": 0x6E61D800,

	"SXTL.2D": 0x0F20A400, "SXTL2.2D": 0x4F20A400, "UXTL.2D": 0x2F20A400, "UXTL2.2D": 0x6F20A400,
	"SHLL.2D": 0x2EA13800, "SHLL2.2D": 0x6EA13800, // by 32
	"UMULL.2D": 0x2EA0C000, "UMULL2.2D": 0x6EA0C000,
	"UZP1.4S": 0x4E801800, "UZP2.4S": 0x4E805800,
	"USHR.2D": 0x6F400400,

	"ADD.4S": 0x4EA08400, "SUB.4S": 0x6EA08400, "MUL.4S": 0x4EA09C00, "MLA.4S": 0x4EA09400,
	"AND.16B": 0x4E201C00, "ORR.16B": 0x4EA01C00, "EOR.16B": 0x6E201C00, "BSL.16B": 0x6E601C00,
	"TBL2.16B": 0x4E002000, // from the pair of registers that begins with the first source
	"DUP.4S":   0x4E040400, // of element 0
	"DUP.2D":   0x4E080400,
	"EXT8.16B": 0x6E004000, // the upper half of the first source, the lower of the second
	"TRN1.4S":  0x4E802800, "TRN2.4S": 0x4E806800, "TRN1.2D": 0x4EC02800, "TRN2.2D": 0x4EC06800,
	"SHL.4S": 0x4F005400, "SSHR.4S": 0x4F000400,
}
