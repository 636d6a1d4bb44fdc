package outbox_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	_ "modernc.org/sqlite" // any driver will do

	"countersign/outbox"
)

// A sale closes an account at the reseller. The signal is part of the sale: where the card is declined, nobody hears of it.
func Example() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // a database in memory belongs to its connection
	table := outbox.Table{Dialect: outbox.SQLite}
	schema, err := table.Schema()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, schema+`CREATE TABLE sale (customer TEXT)`); err != nil {
		log.Fatal(err)
	}

	sell := func(customer string, declined bool) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, `INSERT INTO sale VALUES (?)`, customer); err != nil {
			return err
		}
		_, err = table.Put(ctx, tx, outbox.Signal{
			EventType: "risc/account-disabled",
			SubID:     json.RawMessage(`{"format":"email","email":"` + customer + `"}`),
			Event:     json.RawMessage(`{"reason":"bulk-account"}`),
		})
		if err != nil {
			return err
		}
		if declined {
			return errors.New("the card was declined")
		}
		return tx.Commit()
	}
	fmt.Println("first sale:", sell("mira@x.example", true))
	fmt.Println("second sale:", sell("leo@x.example", false))

	relay := &outbox.Relay{DB: db, Table: table, Send: func(_ context.Context, e outbox.Entry) error { // or outbox.Hub(…)
		fmt.Println("sent:", e.EventType, string(e.SubID))
		return nil
	}}
	n, err := relay.Pass(ctx) // a program that keeps running calls Run
	fmt.Println(n, err)
	// Output:
	// first sale: the card was declined
	// second sale: <nil>
	// sent: risc/account-disabled {"format":"email","email":"leo@x.example"}
	// 1 <nil>
}
