package receipt

// SlipOptions says what a slip shows beside the receipt itself. The zero value is 44 columns and no
// statement about the signature.
type SlipOptions struct {
	Width    int    // columns; 0: 44
	Margin   int    // spaces before every line
	IssuedAt int64  // iat of the receipt; 0: not shown
	Title    string // 0: merchant.name, else ACTION RECEIPT
	Signed   string // "r1 (EdDSA)": key and algorithm; empty: not shown
	Good     bool   // the caller has verified the signature
	Order    *Order // the order it answers, where known
}

func Slip(r *Receipt, opt SlipOptions) string { panic("receipt") }
