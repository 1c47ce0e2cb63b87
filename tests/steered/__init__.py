"""The fleet's own tasks on a real PostgreSQL; a test steers all that is around them.

Workers are threads of which one runs at a time, from one call of Storage to the next. Messages
lie in a list until the test delivers, loses or doubles them. Storage is a dictionary. Any
statement may be the last one of a worker, or of a connection.
"""
