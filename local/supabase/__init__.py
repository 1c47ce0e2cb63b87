"""A stand-in for Supabase (Storage and Auth) for development on one machine."""
