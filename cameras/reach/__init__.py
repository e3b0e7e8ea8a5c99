"""What may be opened, and how does one sign in?

`addresses` judges, resolves and connects; `checked_http` is HTTP that cannot go anywhere else; `login` answers
challenges and `login_guard` keeps them few; `credentials` seals passwords at rest.
"""
