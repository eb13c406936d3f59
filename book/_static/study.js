// Tables of the class `sortable` sort by a click on a column's head; long ones filter and export.
// They are whole without this: it is DataTables, from the page's own folder (datatables.js).
const MANY_ROWS = 20;
const SCROLLS = ".bd-article .output, .dt-layout-cell, .pst-scrollable-table-container";

const isDark = () => document.documentElement.dataset.theme === "dark";

const onTheme = (follow) => {
  new MutationObserver(follow).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  follow();
};

// The sidebar's folds have an arrow alone: this is what screen readers say.
const nameFolds = () => {
  for (const summary of document.querySelectorAll(".bd-sidebar summary")) {
    summary.setAttribute("aria-label", "Show or hide its pages");
  }
};

// What is wider than its box fades at the side to which it goes on, and scrolls by the keyboard.
const showWhatIsCutOff = (box) => {
  const update = () => {
    const hidden = box.scrollWidth - box.clientWidth;
    box.classList.toggle("more-left", hidden > 1 && box.scrollLeft > 1);
    box.classList.toggle("more-right", hidden > 1 && box.scrollLeft < hidden - 1);
    if (hidden > 1) box.tabIndex = 0;
  };
  box.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(box);
};

// A menu for each of a table's `data-filters`: rows have the chosen word, not as part of another.
const addMenus = (table, shown) => {
  const menus = document.createElement("div");
  menus.className = "table-filters";
  for (const [label, words] of Object.entries(JSON.parse(table.dataset.filters))) {
    const field = document.createElement("label");
    const menu = field.appendChild(document.createElement("select"));
    menu.add(new Option("all", ""));
    for (const word of words) menu.add(new Option(word));
    menu.addEventListener("change", () => {
      const literal = menu.value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      const word = menu.value ? new RegExp(`(?<!\\w)${literal}(?!\\w)`) : null;
      shown.search.fixed(label, word).draw();
    });
    field.prepend(`${label} `);
    menus.append(field);
  }
  table.closest(".dt-container").prepend(menus);
};

const makeSortable = async (tables) => {
  onTheme(() => document.documentElement.classList.toggle("dark", isDark()));
  const { default: DataTable } = await window.dataTables;
  for (const table of tables) {
    const many = table.tBodies[0].rows.length > MANY_ROWS;
    const shown = new DataTable(table, {
      autoWidth: false,
      info: false,
      order: [],
      paging: false,
      layout: {
        topStart: many ? { buttons: ["copy", "csv"] } : null,
        topEnd: many ? "search" : null,
      },
    });
    if (table.dataset.filters) addMenus(table, shown);
  }
};

// The explorer of all results, drawn by Vega in the colours of the page.
const explore = (box) => {
  const spec = JSON.parse(box.querySelector("script").textContent);
  const chart = box.appendChild(document.createElement("div"));
  onTheme(() => {
    const ink = isDark() ? "#dfe5ea" : "#262626";
    const text = { labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12 };
    const lines = { gridColor: isDark() ? "#3a3b3c" : "#dddddd", domainColor: ink, tickColor: ink };
    const axis = { ...text, ...lines };
    const config = { background: "transparent", axis, legend: text, view: { stroke: null } };
    vegaEmbed(chart, spec, { actions: false, renderer: "svg", config });
  });
};

document.addEventListener("DOMContentLoaded", async () => {
  nameFolds();
  document.querySelectorAll(".explorer").forEach(explore);
  const tables = document.querySelectorAll("table.sortable");
  if (tables.length) await makeSortable(tables);
  document.querySelectorAll(SCROLLS).forEach(showWhatIsCutOff);
});
