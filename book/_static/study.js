// Tables of the class `sortable` sort by a click on a column's head, filter, and export.
// They are whole without this: it is DataTables, from the page's own folder (datatables.js).
const followTheme = () => {
  const root = document.documentElement;
  const follow = () => root.classList.toggle("dark", root.dataset.theme === "dark");
  new MutationObserver(follow).observe(root, { attributeFilter: ["data-theme"] });
  follow();
};

// The sidebar's folds have an arrow alone: this is what screen readers say.
const nameFolds = () => {
  for (const summary of document.querySelectorAll(".bd-sidebar summary")) {
    summary.setAttribute("aria-label", "Show or hide its pages");
  }
};

document.addEventListener("DOMContentLoaded", async () => {
  nameFolds();
  const tables = document.querySelectorAll("table.sortable");
  if (!tables.length) return;
  followTheme();
  const { default: DataTable } = await window.dataTables;
  for (const table of tables) {
    const many = table.tBodies[0].rows.length > 4;
    new DataTable(table, {
      autoWidth: false,
      info: false,
      order: [],
      paging: false,
      layout: {
        topStart: many ? { buttons: ["copy", "csv"] } : null,
        topEnd: many ? "search" : null,
      },
    });
  }
});
