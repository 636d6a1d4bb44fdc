package receipt

func Issue(o *Order, r *Receipt, jti string, iat int64) (payload []byte, err error) { panic("receipt") }
