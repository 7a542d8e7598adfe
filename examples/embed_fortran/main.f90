! SPDX-License-Identifier: Apache-2.0
! A tagger inside a program in Fortran:
!
!   embed_fortran BUNDLE
!
! The bundle's network needs part.px, part.py, part.pz and part.e (that of top_tagging does).
program embed_fortran
  use bunchtrain_infer
  use, intrinsic :: iso_fortran_env, only: error_unit
  implicit none

  integer, parameter :: jets_of_event = 40, slots = 40
  real(c_float), target :: px(slots, jets_of_event), py(slots, jets_of_event), pz(slots, jets_of_event), e(slots, jets_of_event)
  character(kind=c_char, len=8), target :: names(4) = [character(kind=c_char, len=8) :: &
    "part.px" // c_null_char, "part.py" // c_null_char, "part.pz" // c_null_char, "part.e" // c_null_char]
  character(kind=c_char, len=4), target :: gev = "GeV" // c_null_char
  type(bunchtrain_column), target :: columns(4)
  type(bunchtrain_jets) :: event
  type(c_ptr) :: tagger, scratch
  real(c_double), allocatable :: scores(:, :)
  character(len=4096) :: bundle
  integer :: i

  if (command_argument_count() /= 1) then
    write (error_unit, '(a)') "embed_fortran BUNDLE"
    stop 2
  end if
  call get_command_argument(1, bundle)
  call check(bunchtrain_load(trim(bundle) // c_null_char, tagger))
  call check(bunchtrain_make_scratch(tagger, scratch))    ! one per thread

  call fill_jets()
  columns%name = [(c_loc(names(i)), i = 1, 4)]
  columns(4)%unit = c_loc(gev)
  columns%floats = [c_loc(px), c_loc(py), c_loc(pz), c_loc(e)]
  columns%count = size(px)
  event%count = jets_of_event
  event%slots = slots
  event%columns = c_loc(columns)
  event%column_count = size(columns)
  allocate (scores(bunchtrain_output_count(tagger), jets_of_event))
  call check(bunchtrain_score(tagger, event, scores, scratch))
  write (*, '(es25.17e3)') scores

  call bunchtrain_free_scratch(scratch)
  call bunchtrain_free(tagger)

contains

  ! Stands for what a program has: where nothing is, 0.
  subroutine fill_jets()
    integer :: jet, p
    real(c_double) :: pt, phi, eta
    px = 0; py = 0; pz = 0; e = 0
    do jet = 0, jets_of_event - 1
      do p = 0, jet
        pt = 100 * 0.9_c_double ** p
        phi = 0.4_c_double * sin(real(3 * p + jet, c_double))
        eta = 0.4_c_double * cos(real(5 * p, c_double))
        px(p + 1, jet + 1) = real(pt * cos(phi), c_float)
        py(p + 1, jet + 1) = real(pt * sin(phi), c_float)
        pz(p + 1, jet + 1) = real(pt * sinh(eta), c_float)
        e(p + 1, jet + 1) = real(pt * cosh(eta), c_float)
      end do
    end do
  end subroutine

  subroutine check(status)
    integer(c_int), intent(in) :: status
    if (status == bunchtrain_ok) return
    write (error_unit, '(a)') bunchtrain_text(bunchtrain_last_error())
    stop 1
  end subroutine

end program
