"""Code that speaks one wire protocol each; a file here is one provider."""
