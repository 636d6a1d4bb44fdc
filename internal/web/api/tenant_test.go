package api

const spareTenant = `{"kind":"tenant","name":"spare","title":"Nothing in it"}`
